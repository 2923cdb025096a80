// A failure is a value: who does not look at it has not handled it.

#include <cachier/backend.hpp>

int main() {
#ifdef WRONG
  cachier::open_store({});
#else
  return cachier::open_store({}) ? 0 : 1;
#endif
}
