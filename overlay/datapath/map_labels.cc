#include "overlay/datapath/map_labels.h"

#include "overlay/datapath/map_members.h"

#include <fmt/format.h>

namespace homeport::overlay {

static_assert(HP_FIRST_LABEL == kFirstLabel && HP_VNI_MARK == kLastLabel + 1);

namespace {

/// Those of one path, in an image.
template <class Visit>
void for_labels(const MapImage& image, std::uint32_t number, Visit visit) {
  // The number comes first in the order of the keys.
  for (auto entry = image.labels.lower_bound({number, 0});
       entry != image.labels.end() && entry->first.labels == number; ++entry) {
    visit(entry->first, entry->second);
  }
}

}  // namespace

PathPlacer::PathPlacer(const MapImage& current) : current_(current) {
  for (const auto& [key, path] : current.paths) used_.insert(path.labels);
  for (const auto& [key, label] : current.labels) used_.insert(key.labels);
}

std::uint32_t PathPlacer::number_of(const PathEntry& path) {
  if (!path.relayed) return 0;
  auto was = current_.paths.find(path_key(path.vtep, path.traffic_class));
  if (was != current_.paths.end() && was->second.labels != 0 &&
      BytesEqual{}(was->second.remote, vtep_value(path.remote)) &&
      given_.insert(was->second.labels).second) {
    return was->second.labels;
  }
  while (used_.contains(next_)) ++next_;
  given_.insert(next_);
  return next_++;
}

void PathPlacer::place(const PathEntry& path, MapImage& image, std::vector<std::string>& problems) {
  const std::uint32_t number = number_of(path);
  image.paths[path_key(path.vtep, path.traffic_class)] = path_value(path, number);
  if (number == 0) return;
  for (const auto& [vni, label] : path.labels) {
    if (image.labels.size() < HP_MAX_LABELS) {
      image.labels[{number, vni}] = label;
    } else if (!std::exchange(full_, true)) {
      problems.push_back(fmt::format(
          "This host has its limit of {} labels; what has none is not relayed.", HP_MAX_LABELS));
    }
  }
}

void place_relay(const RelayEntry& relay, MapImage& image, std::vector<std::string>& problems) {
  if (auto possible = check_relay(relay); !possible) {
    return problems.push_back(possible.error().message + ".");
  }
  if (image.relays.size() >= HP_MAX_RELAYS && !image.relays.contains(relay.label)) {
    return problems.push_back(
        fmt::format("The label {} is left out: this host has its limit of {} that it relays.",
                    relay.label, HP_MAX_RELAYS));
  }
  if (!image.relays.emplace(relay.label, relay_value(relay)).second) {
    problems.push_back(
        fmt::format("The label {} is listed twice; the first is carried.", relay.label));
  }
}

MapPatch patch_of(const MapImage& current, const PathEntry& path,
                  std::vector<std::string>& problems) {
  MapImage before, after;
  const hp_path_key key = path_key(path.vtep, path.traffic_class);
  PathPlacer(current).place(path, after, problems);
  if (auto was = current.paths.find(key); was != current.paths.end()) {
    before.paths.insert(*was);
    if (was->second.labels != 0) {
      for_labels(current, was->second.labels,
                 [&](const auto& label, __u32 value) { before.labels[label] = value; });
    }
  }
  MapPatch patch;
  patch.paths = difference(before.paths, after.paths);
  patch.labels = difference(before.labels, after.labels);
  return patch;
}

std::vector<NetworkLabel> labels_of(const MapImage& image, const hp_path& path) {
  std::vector<NetworkLabel> labels;
  if (path.labels == 0) return labels;
  for_labels(image, path.labels, [&](const hp_label_key& key, __u32 label) {
    labels.push_back({key.vni, label});
  });
  return labels;
}

std::vector<RelayEntry> relays_of(const MapImage& image) {
  std::vector<RelayEntry> relays;
  for (const auto& [label, relay] : image.relays) {
    relays.push_back({label, vtep_address(relay.from), vtep_address(relay.to), relay.vni});
  }
  return relays;
}

}  // namespace homeport::overlay
