# How every target of ours is compiled.

add_library(cachier_build_options INTERFACE)
target_compile_options(cachier_build_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough)
if(CACHIER_WARNINGS_AS_ERRORS)
  target_compile_options(cachier_build_options INTERFACE -Werror)
endif()
if(CACHIER_SANITIZE)
  target_compile_options(cachier_build_options INTERFACE
    -fsanitize=${CACHIER_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # What the sanitizers insert hides from g++ that an optional was looked at first.
    target_compile_options(cachier_build_options INTERFACE -Wno-maybe-uninitialized)
  endif()
  target_link_options(cachier_build_options INTERFACE -fsanitize=${CACHIER_SANITIZE})
endif()

# A test program: cachier_test(NAME [LABELS ...] SOURCES ... [LIBRARIES ...]).
# It sees the library's insides, so it links the static form.
function(cachier_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE
    cachier_internal cachier_test_support GTest::gtest GTest::gmock GTest::gtest_main
    ${arg_LIBRARIES})
  # What is tested is compiled as it is shipped; the tests themselves need no such care.
  if(NOT CACHIER_SANITIZE)
    target_compile_options(${name} PRIVATE -O1)
  endif()
  if(arg_LABELS)
    set(labels LABELS "${arg_LABELS}")
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
    PROPERTIES TIMEOUT ${arg_TIMEOUT} ${labels})
endfunction()
