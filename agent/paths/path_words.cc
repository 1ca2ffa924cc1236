#include "agent/paths/path_words.h"

#include "agent/status/path_units.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::agent {

using policy::ChoiceCause;
using policy::Criterion;
using policy::Micros;
using policy::Obstacle;
using policy::RankedPath;
using policy::Remedy;
using policy::Side;
using policy::Standing;

namespace {

std::string interface_of(const policy::Party& party, const policy::IpAddress& address) {
  for (const policy::PathEnd& end : party.ends) {
    if (end.address == address) return end.interface;
  }
  return {};
}

std::string words_of(const PathPoint& point) {
  const std::string address = point.address.to_string();
  return point.interface.empty() ? address : point.interface + " " + address;
}

std::string micros(std::uint64_t count) {
  return format_micros(Micros(static_cast<Micros::rep>(count)));
}

std::string loss(std::uint64_t ppm) {
  return format_loss(static_cast<policy::LossPpm>(ppm));
}

/// Which direction of a broken path does not carry; `it` is what the path is called.
std::string broken_words(const PathsViewer& viewer, std::uint64_t figure, std::string_view it) {
  if (figure == (policy::kBrokenFromFirst | policy::kBrokenFromSecond)) {
    return fmt::format("{} carries nothing in either direction", it);
  }
  const bool from_first = figure == policy::kBrokenFromFirst;
  const bool ours = from_first == (viewer.side == Side::first);
  return fmt::format("what {} sends on {} does not arrive", ours ? "this host" : viewer.peer, it);
}

/// What keeps it from being good, as the end of a sentence.
std::string obstacle_words(const PathsViewer& viewer, const RankedPath& path,
                           std::string_view it = "it") {
  switch (path.obstacle) {
    case Obstacle::none:
      break;
    case Obstacle::forbidden:
      return "the controller forbids one of its ends";
    case Obstacle::relay_not_allowed:
      return "the controller allows no way through other hosts";
    case Obstacle::too_costly:
      return fmt::format("{} costs {}, and {} is the most allowed", it, path.figure, path.limit);
    case Obstacle::broken:
      return broken_words(viewer, path.figure, it);
    case Obstacle::unmeasured:
      return "probes have not been answered lately, so that nobody knows whether it carries";
    case Obstacle::damped:
      return fmt::format("{} has failed too often lately", it);
    case Obstacle::slow:
      return fmt::format("its round trip takes {}, and {} is the most asked for",
                         micros(path.figure), micros(path.limit));
    case Obstacle::lossy:
      return fmt::format("{} loses {}, and {} is the most asked for", it, loss(path.figure),
                         loss(path.limit));
    case Obstacle::narrow:
      return fmt::format("{} has {}, and {} is the least asked for", it, format_rate(path.figure),
                         format_rate(path.limit));
    case Obstacle::small_mtu:
      return fmt::format("packets of {} bytes fit, and {} is the least asked for", path.figure,
                         path.limit);
  }
  return fmt::format("nothing is the matter with {}", it);
}

std::string speed_words(std::uint64_t speed) {
  return speed == 0 ? "an unknown speed" : format_rate(speed);
}

std::string counted_words(const RankedPath& path) {
  return format_micros(path.counted) +
         (path.shares_interactive ? " (doubled: interactive is there)" : "");
}

/// What decides between it and `other`, as the end of a sentence.
std::string decided_words(const RankedPath& path, const RankedPath& other, Criterion criterion,
                          const std::string& name) {
  switch (criterion) {
    case Criterion::standing:
      if (path.standing == Standing::pinned) return "the controller has pinned it";
      if (other.standing == Standing::pinned) return "the controller has pinned " + name;
      return fmt::format("it is {}, and {} is {}", to_string(path.standing), name,
                         to_string(other.standing));
    case Criterion::preference:
      return fmt::format("its preference is {}, that of {} is {}", path.preference, name,
                         other.preference);
    case Criterion::time:
      return fmt::format("an exchange counts as {}, with {} as {}", counted_words(path), name,
                         counted_words(other));
    case Criterion::cost:
      return fmt::format("it costs {}, {} {}", path.cost, name, other.cost);
    case Criterion::directness:
      return path.path.relay.empty() ? name + " leads through another host"
                                     : "it leads through another host";
    case Criterion::default_route:
      return fmt::format("{} of its ends have the default route, {} of those of {}",
                         path.default_routes, other.default_routes, name);
    case Criterion::speed:
      return fmt::format("its slower interface has {}, that of {} {}", speed_words(path.speed),
                         name, speed_words(other.speed));
    case Criterion::address:
      break;
  }
  return fmt::format("it is as good as {}, and the order of addresses decides", name);
}

/// Why a path cannot be used any more.
std::string lost_words(const PathsViewer& viewer, const policy::PathId& path,
                       std::span<const RankedPath> ranked) {
  const RankedPath* found = policy::find(ranked, path);
  if (!found) return "one of its ends is no longer offered";
  return found->usable() ? "that could not be used any more"
                         : obstacle_words(viewer, *found, "that");
}

/// The time below which a path replaces one that takes `time`.
Micros beaten(Micros time, const policy::ChooserPolicy& chooser) {
  return std::max(Micros(0),
                  std::min(time - chooser.least_gain, time * 100 / (100 + chooser.margin)));
}

std::string least_words(const RankedPath& path) {
  switch (path.obstacle) {
    case Obstacle::slow:
      return fmt::format("Its round trip would have to take {} at most.", micros(path.limit));
    case Obstacle::lossy:
      return fmt::format("It would have to lose {} at most.", loss(path.limit));
    case Obstacle::narrow:
      return fmt::format("It would have to have {} at least.", format_rate(path.limit));
    case Obstacle::small_mtu:
      return fmt::format("Packets of {} bytes would have to fit.", path.limit);
    default:
      return {};
  }
}

}  // namespace

PathSnapshot seen_by(const PathsViewer& viewer, const policy::PathId& path) {
  const Side there = policy::other(viewer.side);
  const policy::IpAddress& local = path.at(viewer.side);
  const policy::IpAddress& remote = path.at(there);
  return {{interface_of(viewer.known.at(viewer.side), local), local},
          {interface_of(viewer.known.at(there), remote), remote},
          path.relay};
}

std::string words_of(const PathSnapshot& path) {
  std::string text = words_of(path.local) + " -> " + words_of(path.remote);
  if (!path.relay.empty()) text += " through " + path.relay;
  return text;
}

std::string cause_words(ChoiceCause cause, const std::string& peer) {
  switch (cause) {
    case ChoiceCause::unchanged:
      return "it was in use when the agent was started";
    case ChoiceCause::nothing_usable:
      return "none can be used";
    case ChoiceCause::first:
      return "there was none before";
    case ChoiceCause::lost:
      return "the one before could not be used any more";
    case ChoiceCause::pinned:
      return "the controller has pinned it";
    case ChoiceCause::measured:
      return "the one before was not measured";
    case ChoiceCause::better:
      return "it was better than the one before";
    case ChoiceCause::worse:
      return "the one before had become worse";
    case ChoiceCause::agreement:
      return peer + " has nominated it";
  }
  return "nobody knows why";
}

std::string change_words(const PathsViewer& viewer, policy::TrafficClass traffic,
                         const std::optional<policy::PathId>& from,
                         const std::optional<policy::PathId>& to, ChoiceCause cause,
                         std::span<const RankedPath> ranked) {
  const std::string before = from ? words_of(seen_by(viewer, *from)) : std::string();
  const std::string name(to_string(traffic));
  if (!to) {
    if (!from) return fmt::format("{} has no path: none can be used.", name);
    return fmt::format("{} no longer goes {}: {}, and no other can be used.", name, before,
                       lost_words(viewer, *from, ranked));
  }
  std::string why = cause_words(cause, viewer.peer);
  if (from && cause == ChoiceCause::lost) why = lost_words(viewer, *from, ranked);
  const RankedPath* old_path = policy::find(ranked, from);
  const RankedPath* new_path = policy::find(ranked, to);
  if (old_path && new_path && (cause == ChoiceCause::better || cause == ChoiceCause::worse)) {
    why += "; " + decided_words(*new_path, *old_path,
                                policy::compare(*new_path, *old_path).criterion, "the other");
  }
  return fmt::format("{} goes {}{}: {}.", name, words_of(seen_by(viewer, *to)),
                     from ? " instead of " + before : "", why);
}

std::string place_words(const PathsViewer& viewer, std::span<const RankedPath> ranked,
                        std::size_t index) {
  const RankedPath& path = ranked[index];
  const bool faulty = path.obstacle != Obstacle::none && path.standing != Standing::pinned;
  if (ranked.size() == 1) {
    std::string text = path.usable() ? "It is the only one" : "It is the only one, and excluded";
    if (faulty) text += ": " + obstacle_words(viewer, path);
    return text + ".";
  }
  const policy::Explanation explanation = policy::explain(ranked, index);
  const bool by_standing = explanation.decided_by == Criterion::standing;
  if (!path.usable() || (faulty && by_standing && index > 0)) {
    return fmt::format("It is {}: {}.", to_string(path.standing), obstacle_words(viewer, path));
  }
  const RankedPath& other = ranked[index == 0 ? 1 : 0];
  const std::string text = fmt::format(
      "It comes {}: {}", index == 0 ? "first" : "after the first",
      decided_words(path, other, explanation.decided_by, index == 0 ? "the second" : "the first"));
  return text + (faulty ? fmt::format("; of itself {}.", obstacle_words(viewer, path)) : ".");
}

std::string remedy_words(std::span<const RankedPath> ranked, std::size_t index,
                         const policy::ChooserPolicy& chooser) {
  const RankedPath& path = ranked[index];
  if (index == 0 && path.usable()) return {};
  const policy::Explanation explanation = policy::explain(ranked, index);
  const std::uint64_t target = explanation.target;
  switch (explanation.remedy) {
    case Remedy::none:
      return {};
    case Remedy::allow:
      if (path.obstacle == Obstacle::too_costly) {
        return fmt::format(
            "Its ends would have to cost {} at most, or the controller to allow "
            "{}.",
            path.limit, path.figure);
      }
      return "The controller would have to allow it.";
    case Remedy::mend:
      return "It would have to carry in both directions.";
    case Remedy::measure:
      return "Probes would have to be answered on it.";
    case Remedy::settle:
      return "It would have to stay up until it is no longer damped.";
    case Remedy::meet_minimum:
      return least_words(path);
    case Remedy::pin_or_unpin:
      return "Only the controller changes that, by pinning this one or no longer the first.";
    case Remedy::prefer:
      return fmt::format("It would need a preference of more than {}.", target);
    case Remedy::be_faster: {
      const Micros time(static_cast<Micros::rep>(target));
      return fmt::format(
          "Its exchange would have to count as less than {}, and to replace the "
          "first as less than {}.",
          format_micros(time), format_micros(beaten(time, chooser)));
    }
    case Remedy::cost_less:
      if (target == 0) return "Any gain in time would put it first.";
      return fmt::format("A cost of less than {} would put it first, or any gain in time.", target);
    case Remedy::any_difference:
      return path.standing == Standing::unmeasured ? "Probes would have to be answered on it."
                                                   : "Any gain in time would put it first.";
  }
  return {};
}

}  // namespace homeport::agent
