/// Preloaded into a process, lets `clocks.py` set the wall clock for it alone: what is
/// asked for is the real time and as many seconds as the file CLOCK_OFFSET has bytes,
/// less 10^9. Clocks that nobody can set are as they are.

#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cstdlib>
#include <ctime>

namespace {

constexpr std::time_t kZero = 1'000'000'000;

template <class F>
F* real(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

std::time_t offset() {
  static const char* const path = std::getenv("CLOCK_OFFSET");
  struct stat file {};
  if (path == nullptr || ::stat(path, &file) != 0) return 0;
  return file.st_size - kZero;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, struct timespec* now) noexcept {
  static const auto ask = real<int(clockid_t, struct timespec*)>("clock_gettime");
  const int status = ask(clock, now);
  if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += offset();
  return status;
}

int gettimeofday(struct timeval* now, void*) noexcept {
  struct timespec exact {};
  const int status = clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return status;
}

std::time_t time(std::time_t* out) noexcept {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
}
