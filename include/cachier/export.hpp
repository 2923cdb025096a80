#pragma once

/// What `libcachier` shows to the programs and plugins that link it; all else is
/// hidden.
#if defined(__GNUC__)
#define CACHIER_API __attribute__((visibility("default")))
#else
#define CACHIER_API
#endif
