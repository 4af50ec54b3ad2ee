# SPDX-License-Identifier: MIT
# One INTERFACE target carries the language level, warnings and sanitizers of the whole project.
add_library(chatchain_options INTERFACE)
add_library(chatchain::options ALIAS chatchain_options)
target_compile_features(chatchain_options INTERFACE cxx_std_20)
target_include_directories(chatchain_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_options(chatchain_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers)
if(CHATCHAIN_WERROR)
  target_compile_options(chatchain_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(chatchain_options INTERFACE -Wthread-safety)
endif()
if(CHATCHAIN_SANITIZE)
  target_compile_options(chatchain_options INTERFACE
    -fsanitize=${CHATCHAIN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(chatchain_options INTERFACE -fsanitize=${CHATCHAIN_SANITIZE})
  if(CHATCHAIN_SANITIZE MATCHES "thread")
    # Asio's extra fences are not understood by ThreadSanitizer; its mutexes order what needs order.
    target_compile_definitions(chatchain_options INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
if(CHATCHAIN_FUZZ)
  target_compile_options(chatchain_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()
