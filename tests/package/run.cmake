# Installs the build into a prefix of its own, moves that prefix, and builds and runs the
# consumer against it: once by find_package, once by pkg-config.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(installed ${WORK_DIR}/installed)
set(prefix ${WORK_DIR}/moved)
set(build ${WORK_DIR}/build)
file(REMOVE_RECURSE ${installed} ${prefix} ${build})

run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${installed} --component library)
file(RENAME ${installed} ${prefix})

run(${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${build} -G Ninja
  -D CMAKE_CXX_COMPILER=${CXX} -D CMAKE_PREFIX_PATH=${prefix}
  -D CACHIER_EXPECTED_VERSION=${VERSION})
run(${CMAKE_COMMAND} --build ${build})
run(${CMAKE_COMMAND} -E env CACHIER_PROGRAM=find_package ${build}/consumer)

file(GLOB_RECURSE pc ${prefix}/cachier.pc)
get_filename_component(pc_dir ${pc} DIRECTORY)
get_filename_component(lib_dir ${pc_dir} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc_dir})
execute_process(COMMAND pkg-config --cflags --libs cachier
  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags)
run(${CXX} -std=c++20 ${SOURCE_DIR}/consumer.cpp -o ${build}/by_pkg_config
  ${flags} -Wl,-rpath,${lib_dir})
run(${CMAKE_COMMAND} -E env CACHIER_PROGRAM=pkg-config ${build}/by_pkg_config)

# The command line that was installed finds the library that was installed with it.
execute_process(COMMAND ${prefix}/bin/cachier --version
  OUTPUT_VARIABLE answer COMMAND_ERROR_IS_FATAL ANY)
if(NOT answer MATCHES "${VERSION}")
  message(FATAL_ERROR "the installed command line answers '${answer}', not ${VERSION}")
endif()
