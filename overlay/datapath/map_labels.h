// How paths, the labels of what is relayed on them, and what this host relays become entries of the
// maps. Private to the eBPF datapath.
#pragma once

#include "overlay/datapath/map_image.h"
#include "overlay/datapath/map_patch.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay {

/// Places paths. The labels of each are under a number of its own: what it was in `current` while
/// the same address of the host that relays is there, else the lowest that is free. So whoever
/// changes over to another host that relays never sends it a label of the one before.
class PathPlacer {
 public:
  /// `current` must outlive it.
  explicit PathPlacer(const MapImage& current);

  /// Into `image`; what cannot be is in `problems`. The path itself always can: check_path().
  void place(const PathEntry& path, MapImage& image, std::vector<std::string>& problems);

 private:
  std::uint32_t number_of(const PathEntry& path);

  const MapImage& current_;
  std::set<std::uint32_t> used_, given_;
  std::uint32_t next_ = 1;
  bool full_ = false;
};

/// What this host relays, as place() above.
void place_relay(const RelayEntry& relay, MapImage& image, std::vector<std::string>& problems);

/// What one path changes of `current`.
MapPatch patch_of(const MapImage& current, const PathEntry& path,
                  std::vector<std::string>& problems);

/// What is relayed, of the image.
std::vector<NetworkLabel> labels_of(const MapImage& image, const hp_path& path);
std::vector<RelayEntry> relays_of(const MapImage& image);

}  // namespace homeport::overlay
