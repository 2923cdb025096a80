"""Tables and arrays as arguments and results: keyed by what is in them."""

import numpy as np
import pandas as pd

from cachier import cachier


@cachier()
def totals(orders: pd.DataFrame, weights: np.ndarray) -> pd.Series:
    print("computing")
    return (orders["price"] * weights).groupby(orders["shop"]).sum()


orders = pd.DataFrame({"shop": ["a", "b", "a"], "price": [1.0, 2.0, 3.0]})
print(totals(orders, np.ones(3)).to_dict())
print(totals(orders.copy(), np.ones(3)).to_dict())  # equal tables are one call
orders.loc[0, "price"] = 5.0
print(totals(orders, np.ones(3)).to_dict())
