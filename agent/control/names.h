// The words that the schema's enumerations use, both ways.
#pragma once

#include "agent/control/records.h"

#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

namespace homeport::agent {

template <class Enum>
struct Names;

template <>
struct Names<HostState> {
  static constexpr std::pair<HostState, const char*> list[] = {{HostState::starting, "starting"},
                                                               {HostState::ready, "ready"},
                                                               {HostState::draining, "draining"},
                                                               {HostState::stopping, "stopping"}};
};
template <>
struct Names<LinkState> {
  static constexpr std::pair<LinkState, const char*> list[] = {{LinkState::up, "up"},
                                                               {LinkState::down, "down"},
                                                               {LinkState::unknown, "unknown"},
                                                               {LinkState::absent, "absent"}};
};
template <>
struct Names<UnknownDestination> {
  static constexpr std::pair<UnknownDestination, const char*> list[] = {
      {UnknownDestination::drop, "drop"}, {UnknownDestination::normal, "normal"}};
};
template <>
struct Names<Driver> {
  static constexpr std::pair<Driver, const char*> list[] = {{Driver::qemu, "qemu"},
                                                            {Driver::netdev, "netdev"}};
};
template <>
struct Names<Convergence> {
  static constexpr std::pair<Convergence, const char*> list[] = {
      {Convergence::force, "force"}, {Convergence::rollback, "rollback"}};
};
template <>
struct Names<Compression> {
  static constexpr std::pair<Compression, const char*> list[] = {
      {Compression::automatic, "auto"}, {Compression::off, "off"}, {Compression::zstd, "zstd"}};
};
template <>
struct Names<Detection> {
  static constexpr std::pair<Detection, const char*> list[] = {{Detection::normal, "default"},
                                                               {Detection::fast, "fast"}};
};
template <>
struct Names<TaskKind> {
  static constexpr std::pair<TaskKind, const char*> list[] = {
      {TaskKind::move, "move"}, {TaskKind::start, "start"}, {TaskKind::stop, "stop"}};
};
template <>
struct Names<Resolution> {
  static constexpr std::pair<Resolution, const char*> list[] = {
      {Resolution::source, "source"}, {Resolution::destination, "destination"}};
};
template <>
struct Names<LaneState> {
  static constexpr std::pair<LaneState, const char*> list[] = {
      {LaneState::open, "open"}, {LaneState::given_up, "given-up"}, {LaneState::closed, "closed"}};
};
template <>
struct Names<TaskState> {
  static constexpr std::pair<TaskState, const char*> list[] = {
      {TaskState::running, "running"},         {TaskState::succeeded, "succeeded"},
      {TaskState::failed, "failed"},           {TaskState::cancelled, "cancelled"},
      {TaskState::rolled_back, "rolled-back"}, {TaskState::in_doubt, "in-doubt"}};
};

/// A lane's name is "192.0.2.1 > 192.0.2.2:6711", or "any > 192.0.2.2:6711".
inline constexpr std::string_view kLaneArrow = " > ", kAnyAddress = "any";

template <class Enum>
const char* name_of(Enum value) {
  for (const auto& [candidate, name] : Names<Enum>::list) {
    if (candidate == value) return name;
  }
  return "?";
}

template <class Enum>
std::optional<Enum> value_of(std::string_view text) {
  for (const auto& [value, name] : Names<Enum>::list) {
    if (text == name) return value;
  }
  return std::nullopt;
}

}  // namespace homeport::agent
