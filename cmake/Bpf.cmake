# homeport_bpf_object(): a BPF program as a libbpf skeleton.
#
# The programs use the kernel's UAPI headers and <bpf/bpf_helpers.h> alone, no vmlinux.h: those that
# carry packets read packets, not kernel structures, and so load on any kernel that has the helpers
# they call.

find_program(HOMEPORT_CLANG clang REQUIRED)
find_program(HOMEPORT_BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)

# homeport_bpf_object(NAME SOURCE file.bpf.c)
#   An interface library: link it and include "<folder>/<NAME>.skel.h", whose functions and types
#   begin with <NAME>. The object is rebuilt when a header it includes changes.
function(homeport_bpf_object name)
  cmake_parse_arguments(arg "" "SOURCE" "" ${ARGN})
  get_filename_component(source ${arg_SOURCE} ABSOLUTE)
  set(base ${CMAKE_CURRENT_BINARY_DIR}/${name})
  # -g makes BTF, which describes the maps and lets bpftool show their contents; "gen object" drops
  # the DWARF that comes with it. <linux/types.h> needs <asm/types.h> of the multiarch folder, which
  # clang does not search for the bpf target.
  add_custom_command(OUTPUT ${base}.skel.h BYPRODUCTS ${base}.bpf.unlinked.o ${base}.bpf.o
    COMMAND ${HOMEPORT_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter
      -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -I ${PROJECT_SOURCE_DIR}
      -MD -MT ${base}.skel.h -MF ${base}.d -c ${source} -o ${base}.bpf.unlinked.o
    COMMAND ${HOMEPORT_BPFTOOL} gen object ${base}.bpf.o ${base}.bpf.unlinked.o
    COMMAND ${HOMEPORT_BPFTOOL} gen skeleton ${base}.bpf.o name ${name} > ${base}.skel.h
    DEPENDS ${source} DEPFILE ${base}.d VERBATIM
    COMMENT "Building BPF skeleton ${name}.skel.h")
  add_custom_target(${name}_skeleton DEPENDS ${base}.skel.h)
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_skeleton)
  target_include_directories(${name} SYSTEM INTERFACE ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} INTERFACE PkgConfig::libbpf)
endfunction()
