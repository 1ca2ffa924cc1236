#include "overlay/datapath/datapath.h"

#include <algorithm>

namespace homeport::overlay {

void normalize(DesiredState& state) {
  for (NetworkEntry& network : state.networks) {
    std::sort(network.hosts.begin(), network.hosts.end());
    std::sort(network.gateways.begin(), network.gateways.end());
  }
  for (AddressEntry& entry : state.addresses) std::sort(entry.ips.begin(), entry.ips.end());
  std::sort(state.networks.begin(), state.networks.end());
  std::sort(state.ports.begin(), state.ports.end());
  std::sort(state.addresses.begin(), state.addresses.end());
  std::sort(state.vteps.begin(), state.vteps.end());
  std::sort(state.hosts.begin(), state.hosts.end());
}

Result<bool> Datapath::update(const RemoteChange&) {
  return false;
}

Result<bool> Datapath::untouched() {
  return false;
}

}  // namespace homeport::overlay
