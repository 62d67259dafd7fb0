# SPDX-License-Identifier: GPL-3.0-or-later
# Writes OUTPUT with the commit of SOURCE, only when it has changed, so that an unchanged tree is not rebuilt.
set(commit "unknown")
find_package(Git QUIET)
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -c safe.directory=${SOURCE} -C ${SOURCE} describe --always --dirty=+ --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${found})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define FINWIDTH_COMMIT \"${commit}\"\n")
