# What every target of Homeport shares: the language, the warnings, the sanitizers,
# and the rule that dependencies point one way only.

option(HOMEPORT_TESTS "Build the tests, the lab and the benches" ON)
set(HOMEPORT_SANITIZE "" CACHE STRING "Value for -fsanitize=, empty for none")
option(HOMEPORT_FUZZ "Make libFuzzer programs of the fuzz targets (Clang), and no other test" OFF)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()

find_program(HOMEPORT_CCACHE ccache)
if(HOMEPORT_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${HOMEPORT_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${HOMEPORT_CCACHE})
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(OpenSSL 3.0 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
pkg_check_modules(libnl REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0)
pkg_check_modules(libbpf REQUIRED IMPORTED_TARGET libbpf)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)

if(HOMEPORT_SANITIZE)
  add_compile_options(-fsanitize=${HOMEPORT_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${HOMEPORT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Its maybe-uninitialized analysis reports false positives in instrumented code.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
endif()
if(HOMEPORT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link -fno-sanitize-recover=all)
  add_link_options(-fno-sanitize-recover=all)
endif()
if(HOMEPORT_SANITIZE MATCHES undefined)
  # A check at every use of a pointer doubles the time Asio's templates take to compile, and
  # AddressSanitizer and the processor find most of what these four do.
  add_compile_options(-fno-sanitize=null,alignment,vptr,object-size)
endif()
if(HOMEPORT_SANITIZE MATCHES undefined AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # What Clang 14 puts before a function for this check breaks the parts it splits coroutines into.
  add_compile_options(-fno-sanitize=function)
endif()
if(HOMEPORT_SANITIZE MATCHES thread)
  # ThreadSanitizer does not model fences. Asio's only add to the mutex of its scheduler.
  add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
  # Its runtime of GCC 12 cannot live with 32 bits of address randomisation (vm.mmap_rnd_bits), so
  # ctest runs and lists the tests without any.
  set(CMAKE_CROSSCOMPILING_EMULATOR setarch -R)
endif()

# The parts of Asio and Beast that are no templates, compiled once instead of in every file. An
# object file each, so that a program links only those it uses.
foreach(part asio/impl asio/ssl/impl beast)
  string(MAKE_C_IDENTIFIER boost_${part} file)
  list(APPEND homeport_boost_sources ${PROJECT_BINARY_DIR}/${file}.cc)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${file}.cc CONTENT "#include <boost/@part@/src.hpp>\n" @ONLY)
endforeach()
add_library(homeport_boost STATIC ${homeport_boost_sources})
target_compile_definitions(homeport_boost PUBLIC
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)
target_link_libraries(homeport_boost PUBLIC Boost::headers OpenSSL::SSL Threads::Threads)

add_library(homeport_settings INTERFACE)
target_include_directories(homeport_settings INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(homeport_settings INTERFACE
  SPDLOG_FMT_EXTERNAL HOMEPORT_VERSION="${PROJECT_VERSION}")
target_compile_options(homeport_settings INTERFACE
  -Wall -Wextra -Werror $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>)
target_link_libraries(homeport_settings INTERFACE
  homeport_boost Threads::Threads fmt::fmt spdlog::spdlog)

set(HOMEPORT_LAYERS policy overlay migration agent)

# homeport_library(NAME SOURCES file... [PROTOS file...] [DEPS target...])
#   A static library that belongs to the top-level folder it is declared in. A dependency on a
#   library of a folder further right in HOMEPORT_LAYERS stops the configuration.
function(homeport_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PROTOS;DEPS" ${ARGN})
  file(RELATIVE_PATH place ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX REPLACE "/.*" "" layer ${place})
  list(FIND HOMEPORT_LAYERS ${layer} mine)
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC homeport_settings ${arg_DEPS})
  set_target_properties(${name} PROPERTIES HOMEPORT_LAYER ${mine})
  foreach(dep IN LISTS arg_DEPS)
    if(TARGET ${dep})
      get_target_property(theirs ${dep} HOMEPORT_LAYER)
      if(theirs MATCHES "^[0-9]+$" AND theirs GREATER mine)
        message(FATAL_ERROR "${name} (${layer}) must not depend on ${dep}: "
          "dependencies point policy <- overlay <- migration <- agent")
      endif()
    endif()
  endforeach()
  if(arg_PROTOS)
    # Included as "<folder>/<name>.pb.h", from the build tree.
    # (protobuf_generate() always puts the current folder first in protoc's path, which takes the
    # folder out of the names of what it generates.)
    set(generated)
    foreach(proto IN LISTS arg_PROTOS)
      string(REGEX REPLACE "\\.proto$" ".pb" base ${PROJECT_BINARY_DIR}/${place}/${proto})
      add_custom_command(OUTPUT ${base}.cc ${base}.h
        COMMAND protobuf::protoc --cpp_out ${PROJECT_BINARY_DIR} -I ${PROJECT_SOURCE_DIR}
          ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
        DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto} protobuf::protoc
        VERBATIM)
      list(APPEND generated ${base}.cc ${base}.h)
    endforeach()
    add_library(${name}_proto STATIC ${generated})
    target_link_libraries(${name}_proto PUBLIC protobuf::libprotobuf)
    target_include_directories(${name}_proto SYSTEM PUBLIC ${PROJECT_BINARY_DIR})
    target_link_libraries(${name} PUBLIC ${name}_proto)
  endif()
endfunction()

# homeport_test(NAME SOURCES file... [DEPS target...] [LABEL unit|root|lab] [THREADS])
#   A GoogleTest program, run by ctest under that label (default: unit). The target tests-<label>
#   builds all programs of a label. THREADS says that something here is used from more than one
#   thread, so that ThreadSanitizer has something to look at: the label is then <label>-threads, and
#   the target tests-threads builds the program too.
function(homeport_test name)
  cmake_parse_arguments(arg "THREADS" "LABEL" "SOURCES;DEPS" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE homeport_settings ${arg_DEPS} GTest::gmock GTest::gtest_main)
  set(groups ${arg_LABEL})
  if(arg_THREADS)
    list(APPEND groups threads)
  endif()
  foreach(group IN LISTS groups)
    if(NOT TARGET tests-${group})
      add_custom_target(tests-${group})
    endif()
    add_dependencies(tests-${group} ${name})
  endforeach()
  list(JOIN groups - label)  # gtest_discover_tests() cannot give a test two labels
  set(seconds 120)
  if(HOMEPORT_SANITIZE)
    set(seconds 600)  # what takes seconds otherwise takes more than a minute
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${label} TIMEOUT ${seconds})
endfunction()
