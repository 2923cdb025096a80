# What `cmake --install` leaves behind: the library, its headers, the command line, and
# what `find_package(cachier)` and `pkg-config cachier` read.

# Every header in include/ is public, and compiles alone
# (target all_verify_interface_header_sets).
file(GLOB CACHIER_PUBLIC_HEADERS CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/include/cachier/*.hpp
  ${PROJECT_SOURCE_DIR}/include/cachier/*/*.hpp)
target_sources(cachier PUBLIC FILE_SET HEADERS
  BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${CACHIER_PUBLIC_HEADERS})
set_target_properties(cachier PROPERTIES
  VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL})

set(CACHIER_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/cachier)

install(TARGETS cachier EXPORT cachierTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(EXPORT cachierTargets NAMESPACE cachier::
  DESTINATION ${CACHIER_CMAKE_DIR} COMPONENT library)

configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/cachierConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cachierConfig.cmake
  INSTALL_DESTINATION ${CACHIER_CMAKE_DIR})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/cachierConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/cachierConfig.cmake
  ${PROJECT_BINARY_DIR}/cachierConfigVersion.cmake
  DESTINATION ${CACHIER_CMAKE_DIR} COMPONENT library)

# A .pc file names its directories relative to itself, so that a prefix can be moved.
file(RELATIVE_PATH CACHIER_PC_PREFIX
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" CACHIER_PC_PREFIX "${CACHIER_PC_PREFIX}")
configure_file(${PROJECT_SOURCE_DIR}/cmake/cachier.pc.in
  ${PROJECT_BINARY_DIR}/cachier.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cachier.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)

if(TARGET cachier_cli)
  file(RELATIVE_PATH CACHIER_LIB_FROM_BIN
    /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
  set_target_properties(cachier_cli PROPERTIES
    INSTALL_RPATH "$ORIGIN/${CACHIER_LIB_FROM_BIN}")
  install(TARGETS cachier_cli
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT library)
endif()
