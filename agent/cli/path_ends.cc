#include "agent/cli/path_ends.h"

#include "agent/cli/lookup.h"
#include "policy/path/end_text.h"

#include <fmt/format.h>

#include <set>
#include <vector>

namespace homeport::agent {

policy::Result<void> check_known(const Contents& contents, const policy::EndMatch& end) {
  if (!end.host.empty()) {
    auto host = find_named(contents.hosts, "host", end.host);
    if (!host) return host.error();
  }
  if (end.interface.empty() && end.label.empty()) return {};
  std::set<std::string> known;
  for (const auto& [uuid, row] : contents.interfaces) {
    if (!may_be_at(end, row.host)) continue;
    policy::EndMatch there{.host = end.host};
    if (end.label.empty()) {
      there.interface = row.name;
    } else if (!row.label.empty()) {
      there.label = row.label;
    } else {
      continue;
    }
    if (there == end) return {};
    known.insert(to_string(there));
  }
  policy::Error error =
      unknown_name_error("interface", to_string(end), {known.begin(), known.end()});
  if (!end.label.empty()) {
    error.message += fmt::format(
        " An interface gets a label by `homeport interface set HOST/INTERFACE --label {}`.",
        end.label);
  }
  return error;
}

policy::Result<void> check_label_known(const Contents& contents, const std::string& label) {
  return check_known(contents, {.label = label});
}

}  // namespace homeport::agent
