# Packages as Slicer does: the runtime component alone.
set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};${CMAKE_PROJECT_NAME};RuntimeLibraries;/")
set(CPACK_GENERATOR "TGZ")
include(CPack)
