// Writes what has changed of an image into the maps of the eBPF datapath, in an order in which no
// frame finds an entry before what that refers to.
#pragma once

#include "overlay/datapath/ebpf_object.h"
#include "overlay/datapath/map_patch.h"

#include <string>
#include <vector>

namespace homeport::overlay {

/// Adds the error's sentence, if it is one.
void note(const Result<void>& result, std::vector<std::string>& problems);

/// What comes or changes, from `current` on. What cannot be written is named in `problems`.
void write_new(const EbpfObject& object, const MapImage& current, const MapPatch& patch,
               std::vector<std::string>& problems);
/// What goes, after that.
void remove_old(const EbpfObject& object, const MapPatch& patch,
                std::vector<std::string>& problems);

}  // namespace homeport::overlay
