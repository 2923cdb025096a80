#include <cachier/cached.hpp>

#include <chrono>
#include <iostream>

int main() {
  using namespace std::chrono_literals;
  auto slow_sum = [](int from, int to) {  // seconds of work, in your program
    long long sum = 0;
    for (int i = from; i < to; ++i) sum += i;
    return sum;
  };
  auto sum = cachier::cached("sum", slow_sum, {.stale_after = 24h});
  std::cout << sum(1, 1'000'000) << '\n';  // computes and stores
  std::cout << sum(1, 1'000'000) << '\n';  // from the store, also after a restart
}
