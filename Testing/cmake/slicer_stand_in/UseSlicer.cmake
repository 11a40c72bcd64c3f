# The two macros, with the arguments that Slicer's own ones take.
include(CMakeParseArguments)
option(BUILD_TESTING "Register the tests" ON)
if(BUILD_TESTING)
  enable_testing()
endif()

# Copies every file to the same place below the folder of scripted modules, and installs that folder.
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule does not know: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT MY_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: NAME is missing")
  endif()
  set(_folder "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
  set(_copies)
  foreach(_file IN LISTS MY_SCRIPTS MY_RESOURCES)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${_file}")
      message(FATAL_ERROR "slicerMacroBuildScriptedModule: there is no ${_file}")
    endif()
    add_custom_command(
      OUTPUT "${_folder}/${_file}"
      DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${_file}"
      COMMAND ${CMAKE_COMMAND} -E copy "${CMAKE_CURRENT_SOURCE_DIR}/${_file}" "${_folder}/${_file}"
      )
    list(APPEND _copies "${_folder}/${_file}")
  endforeach()
  add_custom_target(Copy${MY_NAME} ALL DEPENDS ${_copies})
  install(DIRECTORY "${_folder}/" DESTINATION "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}" COMPONENT RuntimeLibraries)
  if(BUILD_TESTING AND MY_WITH_GENERIC_TESTS)
    add_test(NAME py_nomainwindow_qSlicer${MY_NAME}ModuleGenericTest COMMAND ${CMAKE_COMMAND} -E true)
  endif()
endmacro()

macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
    message(FATAL_ERROR "slicer_add_python_unittest: there is no ${MY_SCRIPT}")
  endif()
  get_filename_component(_name "${MY_SCRIPT}" NAME_WE)
  add_test(NAME py_${MY_TESTNAME_PREFIX}${_name} COMMAND ${CMAKE_COMMAND} -E true)
endmacro()
