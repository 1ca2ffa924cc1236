#include "tests/bench/cutover/homeport_system.h"

namespace homeport::lab {

HomeportSystem::HomeportSystem(GoOn when) : when_(when), lab_("cutover") {
  for (std::size_t host = 0; host < PlainHosts::kCount; ++host) {
    lab_.add_host(PlainHosts::name(host),
                  {.underlay = {.rate_mbit = kLinkMbit, .mtu = 1500}, .memory_mib = 16});
  }
  const auto inside = [&](std::size_t host) -> const Namespace& {
    return lab_.host(PlainHosts::name(host)).inside();
  };
  containers_ = std::make_unique<Containers>(inside(0), inside(1), inside(2));
  lab_.add_network();
  lab_.start_agents();
  const auto add = [&](const std::string& what) {
    lab_.homeport_checked("app add " + what + " --driver netdev --network net1");
  };
  add(std::string("app --host hostA --device ") + Containers::kAppDevice + " --mac " +
      Containers::kAppMac + " --ip " + Containers::kAppIp);
  add(std::string("sender --host hostC --device ") + Containers::kSenderDevice + " --mac " +
      Containers::kSenderMac + " --ip " + Containers::kSenderIp);
}

void HomeportSystem::move(Place to, MovingFlow& flow) {
  if (when_ == GoOn::with_traffic) flow.take_over_with_traffic(to);
  lab_.homeport_checked("move app --to " + PlainHosts::name(index(to)) + " --wait");
  if (when_ == GoOn::when_told) flow.take_over(to);
  flow.wait_taken_over();
}

}  // namespace homeport::lab
