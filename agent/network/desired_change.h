// What a change of a few applications does to the desired state, at the cost of those. Pure; a
// recompute of all by desired_state() is the test oracle.
#pragma once

#include "agent/network/desired_state.h"

#include <optional>
#include <set>
#include <string>

namespace homeport::agent {

/// The bindings that `changes` name, and those of the applications that it or `applications` does.
std::set<std::string> bindings_of(const Contents& contents, const Changes& changes,
                                  const std::set<std::string>& applications);

/// What the changes do to the desired state. `applications`: those of which something beside the
/// database has changed: in the view (a move, where they have been, what others tell), or their
/// devices; ports that they have are named even if nothing else has changed. `view.devices` need
/// only be right about the devices of bindings_of() these.
///
/// Brings `desired` up to date but for the lists of its state, of which only the networks are
/// looked at. nullopt, with `desired` in between, where it takes desired_state() to tell: networks
/// have changed, hosts came, went or have other VTEPs, or their interfaces have changed and are
/// reached.
std::optional<overlay::StateChange> change_of(const Contents& contents, const LocalView& view,
                                              const Changes& changes,
                                              const std::set<std::string>& applications,
                                              Desired& desired);

}  // namespace homeport::agent
