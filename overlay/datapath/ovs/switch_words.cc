#include "overlay/datapath/ovs/switch_words.h"

#include <vector>

namespace homeport::overlay::ovs {

using vswitch::Flow;

Result<FlowImage> SwitchWords::of(const FlowImage& flows) {
  std::vector<Flow> unknown;
  for (const auto& [key, flow] : flows) {
    if (!known_.contains({key, flow.body.actions})) unknown.push_back({key, flow.body, {}});
  }
  auto translated = bridge_.canonical(unknown);
  if (!translated) return translated.error();
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    const Flow& as_told = (*translated)[i];
    known_[{unknown[i].key, unknown[i].body.actions}] = {as_told.key.match, as_told.body.actions};
  }
  FlowImage result;
  for (const auto& [key, flow] : flows) {
    const auto& [match, actions] = known_.at({key, flow.body.actions});
    result[{key.table, key.priority, match}] = {{flow.body.cookie, actions}, flow.owner};
  }
  return result;
}

}  // namespace homeport::overlay::ovs
