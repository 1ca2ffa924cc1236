// The ends of paths as a controller writes them:
//
//   HOST/INTERFACE    an interface of a host        host1/eth2
//   HOST/label:NAME   those that have the label     host1/label:wan
//
// with * for any host or any interface: */label:backup, host1/*. Two of them with a space between
// them are a pair: the paths that have the one end at either host and the other at the other host.
#pragma once

#include "policy/error.h"
#include "policy/path/class_policy.h"

#include <string>
#include <string_view>

namespace homeport::policy {

/// What can be a label of interfaces: 1 to 63 bytes that can be shown, without a space.
bool is_label(std::string_view text);

/// The error is a sentence that says what to write instead.
Result<EndMatch> parse_end(std::string_view text);
Result<PairMatch> parse_pair(std::string_view text);

/// Of what parse_end() and parse_pair() give: the same text again.
std::string to_string(const EndMatch& end);
std::string to_string(const PairMatch& pair);

/// Whether it means an interface of that host, among others perhaps.
bool may_be_at(const EndMatch& end, std::string_view host);
/// Whether it means a path between these two hosts.
bool may_be_between(const PairMatch& pair, std::string_view host, std::string_view peer);

}  // namespace homeport::policy
