"""Coroutine functions: any number of tasks, one run."""

import asyncio

from cachier import cachier


@cachier()
async def fetch(page: str) -> str:
    print(f"fetching {page}")
    await asyncio.sleep(0.01)
    return f"<{page}>"


async def main() -> None:
    pages = await asyncio.gather(*(fetch("home") for _ in range(100)))
    print(len(pages), pages[0])
    await fetch.aclear_cache()
    print(await fetch("home"))


asyncio.run(main())
