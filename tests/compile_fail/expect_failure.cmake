# Compiles SOURCE twice, see CMakeLists.txt.
cmake_minimum_required(VERSION 3.25)

set(compile ${CXX} -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I ${INCLUDE} ${SOURCE})

execute_process(COMMAND ${compile} RESULT_VARIABLE status ERROR_VARIABLE said)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "does not compile at all:\n${said}")
endif()

execute_process(COMMAND ${compile} -D WRONG
  RESULT_VARIABLE status ERROR_VARIABLE said)
if(status EQUAL 0)
  message(FATAL_ERROR "compiles, but must not")
endif()
# Messages are broken into strings and lines in different ways.
string(REGEX REPLACE "[ \n]+" " " said_flat "${said}")
if(NOT said_flat MATCHES "${SAYS}")
  message(FATAL_ERROR "fails without saying '${SAYS}':\n${said}")
endif()
