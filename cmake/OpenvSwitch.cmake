# openvswitch::openvswitch, the static Open vSwitch library (OVSDB IDL, OpenFlow, its poll loop), and
# homeport_ovsdb_idl(), which compiles a schema into IDL code.
#
# Debian ships the library's source only, so it is built once per tarball, compiler and recipe into a
# cache outside the build tree, where every build tree (sanitized ones too) finds it again:
# HOMEPORT_CACHE_DIR, or homeport/ in $XDG_CACHE_HOME or ~/.cache.

set(HOMEPORT_OVS_TARBALL /usr/src/openvswitch/openvswitch.tar.gz CACHE FILEPATH
  "Open vSwitch source, as installed by the openvswitch-source package")
set(HOMEPORT_PYTHON3 /usr/bin/python3 CACHE FILEPATH
  "The distribution's Python: the one its python3-* packages belong to")

if(DEFINED ENV{HOMEPORT_CACHE_DIR})
  set(_cache $ENV{HOMEPORT_CACHE_DIR})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_cache $ENV{XDG_CACHE_HOME}/homeport)
else()
  set(_cache $ENV{HOME}/.cache/homeport)
endif()
set(HOMEPORT_CACHE_DIR ${_cache} CACHE PATH "Where what is built once is kept, for all build trees")

if(NOT EXISTS ${HOMEPORT_OVS_TARBALL})
  message(FATAL_ERROR "${HOMEPORT_OVS_TARBALL} is missing: run deploy/install-packages, or install "
    "openvswitch-source")
endif()

set(_recipe ${CMAKE_CURRENT_LIST_DIR}/build-openvswitch)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${_recipe})
file(SHA256 ${HOMEPORT_OVS_TARBALL} _tarball_hash)
file(SHA256 ${_recipe} _recipe_hash)
string(SHA256 _key
  "${_tarball_hash} ${_recipe_hash} ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
string(SUBSTRING ${_key} 0 16 _key)
set(HOMEPORT_OVS_ROOT ${HOMEPORT_CACHE_DIR}/openvswitch-${_key})

if(NOT EXISTS ${HOMEPORT_OVS_ROOT})
  message(STATUS "Building the Open vSwitch libraries into ${HOMEPORT_OVS_ROOT} (once, about two minutes)")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env "CC=${CMAKE_C_COMPILER_LAUNCHER} ${CMAKE_C_COMPILER}"
      ${_recipe} ${HOMEPORT_OVS_TARBALL} ${HOMEPORT_OVS_ROOT}
    COMMAND_ERROR_IS_FATAL ANY)
endif()

add_library(openvswitch::openvswitch STATIC IMPORTED GLOBAL)
set(_include ${HOMEPORT_OVS_ROOT}/include)
set_target_properties(openvswitch::openvswitch PROPERTIES
  IMPORTED_LOCATION ${HOMEPORT_OVS_ROOT}/lib/libopenvswitch.a
  # The library's headers include each other by three roots.
  INTERFACE_INCLUDE_DIRECTORIES "${_include};${_include}/include;${_include}/lib"
  INTERFACE_LINK_LIBRARIES "OpenSSL::SSL;OpenSSL::Crypto;Threads::Threads;atomic;rt;m")

# homeport_ovsdb_idl(NAME SCHEMA file PREFIX prefix)
#   A static C library with the typed IDL of an OVSDB schema: include "<NAME>.h", whose functions
#   and row types begin with PREFIX.
function(homeport_ovsdb_idl name)
  cmake_parse_arguments(arg "" "SCHEMA;PREFIX" "" ${ARGN})
  get_filename_component(schema ${arg_SCHEMA} ABSOLUTE)
  set(base ${CMAKE_CURRENT_BINARY_DIR}/${name})
  file(CONFIGURE OUTPUT ${base}.ann
    CONTENT "s[\"idlPrefix\"] = \"@arg_PREFIX@\"\ns[\"idlHeader\"] = \"\\\"@name@.h\\\"\"\n" @ONLY)
  set(idlc ${CMAKE_COMMAND} -E env PYTHONPATH=${HOMEPORT_OVS_ROOT}/python PYTHONDONTWRITEBYTECODE=1
    ${HOMEPORT_PYTHON3} ${HOMEPORT_OVS_ROOT}/ovsdb-idlc)
  add_custom_command(OUTPUT ${base}.ovsidl
    COMMAND ${idlc} annotate ${schema} ${base}.ann > ${base}.ovsidl
    DEPENDS ${schema} ${base}.ann VERBATIM)
  add_custom_command(OUTPUT ${base}.c ${base}.h
    COMMAND ${idlc} c-idl-header ${base}.ovsidl > ${base}.h
    COMMAND ${idlc} c-idl-source ${base}.ovsidl > ${base}.c
    DEPENDS ${base}.ovsidl VERBATIM)
  add_library(${name} STATIC ${base}.c ${base}.h)
  target_link_libraries(${name} PUBLIC openvswitch::openvswitch)
  target_include_directories(${name} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
endfunction()
