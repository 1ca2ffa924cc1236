// What a row must fulfil beyond the schema: used by the command line before it writes, and by the
// agent before it acts on what a controller has written. Each returns the first thing wrong, as one
// sentence that names the value.
#pragma once

#include "agent/control/database.h"
#include "agent/control/records.h"

#include <string_view>

namespace homeport::agent {

/// 1 to 63 of a-z A-Z 0-9 . _ - and, for bindings, one "/" between two such names; begins with a
/// letter or digit.
policy::Result<void> check_name(std::string_view what, std::string_view name);
policy::Result<void> check_binding_name(std::string_view name);

policy::Result<void> check_network(const Contents& contents, const Network& network);
policy::Result<void> check_application(const Contents& contents, const Application& application);
/// Known application and network, MAC unicast and not used twice in the network, addresses inside
/// the network's subnets and not used by another binding of it.
policy::Result<void> check_binding(const Contents& contents, const Binding& binding);
policy::Result<void> check_policy(const Policy& policy);
/// Known application that has bindings; a move names a known destination other than its location.
policy::Result<void> check_task(const Contents& contents, const Task& task);

}  // namespace homeport::agent
