# SPDX-License-Identifier: MIT
# Debian's cpp-httplib is a compiled library described only by a pkg-config file. Its feature macros
# change class layouts, so they must be taken from there: target httplib::httplib carries them.
find_package(PkgConfig QUIET REQUIRED)
pkg_check_modules(PC_httplib QUIET IMPORTED_TARGET cpp-httplib)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(httplib REQUIRED_VARS PC_httplib_LIBRARIES
                                  VERSION_VAR PC_httplib_VERSION)
if(httplib_FOUND AND NOT TARGET httplib::httplib)
  add_library(httplib::httplib INTERFACE IMPORTED)
  target_link_libraries(httplib::httplib INTERFACE PkgConfig::PC_httplib Threads::Threads)
endif()
