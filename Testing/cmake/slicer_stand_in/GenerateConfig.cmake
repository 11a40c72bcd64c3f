# Slicer writes the description of the extension from these; all have to be there.
foreach(_name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if("${EXTENSION_${_name}}" STREQUAL "")
    message(FATAL_ERROR "EXTENSION_${_name} is missing")
  endif()
  file(APPEND "${CMAKE_BINARY_DIR}/description.txt" "${_name} ${EXTENSION_${_name}}\n")
endforeach()
