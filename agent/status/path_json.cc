#include "agent/status/path_json.h"

#include "agent/status/json.h"

#include <boost/json.hpp>

#include <utility>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using policy::DirectionQuality;
using policy::PathQuality;
using policy::Reachability;
using policy::Standing;

json::value text(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

/// 0 is what is not known, in policy::PathEnd.
json::value known(std::uint64_t number) {
  return number == 0 ? json::value(nullptr) : json::value(number);
}

template <class T>
json::value number(const std::optional<T>& number) {
  return number ? json::value(*number) : json::value(nullptr);
}

json::value micros(const std::optional<policy::Micros>& time) {
  return time ? json::value(time->count()) : json::value(nullptr);
}

json::value time(const std::optional<SystemTime>& time) {
  return time ? json::value(to_rfc3339(*time)) : json::value(nullptr);
}

json::array strings(const std::vector<std::string>& texts) {
  return json::array(texts.begin(), texts.end());
}

json::object point(const PathPoint& point) {
  return {{"interface", text(point.interface)}, {"address", point.address.to_string()}};
}

json::value path(const std::optional<PathSnapshot>& path) {
  if (!path) return nullptr;
  return {
      {"local", point(path->local)}, {"remote", point(path->remote)}, {"relay", text(path->relay)}};
}

json::object direction(const DirectionQuality& quality) {
  const bool unknown = quality.reachable == Reachability::unknown;
  return {{"reachable",
           unknown ? json::value(nullptr) : json::value(quality.reachable == Reachability::yes)},
          {"loss_ppm", number(quality.loss)},
          {"bits_per_second", number(quality.bandwidth)},
          {"mtu", number(quality.mtu)}};
}

json::object quality(const PathQuality& quality) {
  return {{"rtt_us", micros(quality.rtt)},
          {"variation_us", micros(quality.variation)},
          {"out", direction(quality.out)},
          {"in", direction(quality.in)}};
}

json::object candidate(const CandidateSnapshot& candidate) {
  return {{"path", path(candidate.path)},
          {"quality", quality(candidate.quality)},
          {"age_us", micros(candidate.age)},
          {"in_use", candidate.in_use},
          {"standing", to_string(candidate.standing)},
          {"obstacle", to_string(candidate.obstacle)},
          {"figure", candidate.figure},
          {"limit", candidate.limit},
          {"damped", candidate.damped},
          {"damped_until", time(candidate.damped_until)},
          {"preference", candidate.preference},
          {"cost", candidate.cost},
          {"counted_us", micros(candidate.counted)},
          {"why", candidate.why},
          {"remedy", text(candidate.remedy)}};
}

json::object change(const PathChange& change) {
  return {{"time", to_rfc3339(change.time)},  {"class", to_string(change.traffic)},
          {"from", path(change.from)},        {"to", path(change.to)},
          {"cause", to_string(change.cause)}, {"text", change.text}};
}

json::object of_class(const ClassPathSnapshot& of) {
  json::object changes, candidates;
  for (const auto& [cause, count] : of.changes) changes[to_string(cause)] = count;
  for (Standing standing : kStandings) {
    const auto found = of.candidates.find(standing);
    candidates[to_string(standing)] = found == of.candidates.end() ? 0 : found->second;
  }
  return {{"class", to_string(of.traffic)},
          {"state", of.state},
          {"path", path(of.path)},
          {"quality", quality(of.quality)},
          {"since", time(of.since)},
          {"cause", to_string(of.cause)},
          {"peer_path", path(of.peer_path)},
          {"changes", std::move(changes)},
          {"candidates", std::move(candidates)}};
}

/// What both have of a peer.
json::object peer_object(const PeerPathsSnapshot& peer) {
  return {{"peer", peer.peer},
          {"role", peer.role},
          {"connected", peer.connected},
          {"since", time(peer.since)},
          {"probes_sent", peer.probes_sent},
          {"probes_answered", peer.probes_answered}};
}

json::array ends(const std::vector<PathEndSnapshot>& ends) {
  json::array array;
  for (const PathEndSnapshot& end : ends) array.emplace_back(to_json(end));
  return array;
}

}  // namespace

json::object to_json(const RelayingSnapshot& snapshot) {
  return {{"hosts", snapshot.hosts}, {"labels", snapshot.labels}};
}

json::object to_json(const PathEndSnapshot& snapshot) {
  const policy::PathEnd& end = snapshot.end;
  return {{"interface", end.interface},
          {"address", end.address.is_unspecified() ? json::value(nullptr)
                                                   : json::value(end.address.to_string())},
          {"bits_per_second", known(end.speed)},
          {"mtu", known(end.mtu)},
          {"cost", end.cost},
          {"labels", strings(end.labels)},
          {"default_route", end.default_route},
          {"not_offered", text(snapshot.not_offered)}};
}

json::object to_json(const PeerPathsSnapshot& peer) {
  json::object object = peer_object(peer);
  json::array classes;
  for (const ClassPathSnapshot& each : peer.classes) classes.emplace_back(of_class(each));
  object["classes"] = std::move(classes);
  return object;
}

json::object to_json(const PathEvent& event) {
  return {{"peer", event.peer},
          {"class", to_string(event.traffic)},
          {"state", event.state},
          {"time", time(event.time)},
          {"from", path(event.from)},
          {"to", path(event.to)},
          {"cause", to_string(event.cause)},
          {"text", text(event.text)}};
}

json::object peer_paths_json(std::string_view host, const PathsSnapshot& paths,
                             const PeerPathsSnapshot& peer) {
  json::object object = peer_object(peer);
  object["host"] = host;
  object["epoch"] = peer.epoch;
  object["heard"] = peer.heard;
  object["ends"] = ends(paths.ends);
  object["peer_ends"] = ends(peer.ends);
  json::array classes, recent;
  for (const ClassPathSnapshot& each : peer.classes) {
    json::object of = of_class(each);
    json::array ranked;
    for (const CandidateSnapshot& path : each.ranked) ranked.emplace_back(candidate(path));
    of["ranked"] = std::move(ranked);
    of["explanation"] = strings(each.explanation);
    classes.emplace_back(std::move(of));
  }
  for (const PathChange& each : peer.recent) recent.emplace_back(change(each));
  object["classes"] = std::move(classes);
  object["recent"] = std::move(recent);
  return object;
}

}  // namespace homeport::agent
