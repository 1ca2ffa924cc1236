// How the switch words a flow: it tells of what it was given in its own way.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"

#include <map>
#include <string>
#include <utility>

namespace homeport::overlay::ovs {

class SwitchWords {
 public:
  explicit SwitchWords(vswitch::Bridge& bridge) : bridge_(bridge) {}

  /// The flows as the switch would tell of them. What was asked for once is remembered, since most
  /// flows stay.
  Result<FlowImage> of(const FlowImage& flows);

  /// Now and then, of an image of so many flows: those of flows that have gone are forgotten.
  void forget(std::size_t flows) {
    if (known_.size() > 2 * flows + 1000) known_.clear();
  }

 private:
  vswitch::Bridge& bridge_;
  /// By place and actions, the match and the actions.
  std::map<std::pair<vswitch::FlowKey, std::string>, std::pair<std::string, std::string>> known_;
};

}  // namespace homeport::overlay::ovs
