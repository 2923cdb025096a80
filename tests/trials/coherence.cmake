# Runs PROGRAM in a new directory: its exit status has to be DUE.
execute_process(COMMAND mktemp -d OUTPUT_VARIABLE directory OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${PROGRAM} ${directory} 10000000 4 RESULT_VARIABLE status)
file(REMOVE_RECURSE ${directory})
if(NOT status EQUAL DUE)
  message(FATAL_ERROR "it ended with ${status}, not ${DUE}")
endif()
