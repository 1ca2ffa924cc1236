#include "tests/lab/network.h"

#include <utility>

#include "overlay/link/link.h"
#include "tests/lab/process.h"

namespace homeport::lab {
namespace {

// tbf(8): the burst must hold what the rate lets through in a timer tick, and one TSO frame. The
// queue: TCP keeps little of its own in it (TCP small queues), so 400 ms are never filled.
std::string bucket(std::uint64_t rate_mbit) {
  return " root tbf rate " + std::to_string(rate_mbit) + "mbit burst 128kb latency 400ms";
}

void shape(const Namespace& inside, const std::string& device, std::uint64_t rate_mbit) {
  if (rate_mbit > 0) inside.tc("qdisc add dev " + device + bucket(rate_mbit));
}

}  // namespace

Link::Link(const Namespace& near, std::string near_device, const Namespace& far,
           std::string far_device, LinkOptions options)
    : near_namespace_(near.name()),
      far_(far),
      near_device_(std::move(near_device)),
      far_device_(std::move(far_device)) {
  near.ip("link add " + near_device_ + " mtu " + std::to_string(options.mtu) +
          " type veth peer name " + far_device_ + " mtu " + std::to_string(options.mtu) +
          " netns " + far_.name());
  shape(near, near_device_, options.rate_mbit);
  shape(far_, far_device_, options.rate_mbit);
  far_.ip("link set " + far_device_ + " up");
  near.ip("link set " + near_device_ + " up");
}

Link::~Link() {
  // Deleting one end deletes both; the namespaces may have taken them along already.
  run_command(words("ip -n " + near_namespace_ + " link del " + near_device_));
}

void Link::cut() {
  far_.ip("link set " + far_device_ + " down");
  cut_ = true;
}

void Link::restore() {
  far_.ip("link set " + far_device_ + " up");
  cut_ = false;
}

void Link::lose(Loss loss) {
  if (!wire_) wire_ = std::make_unique<LossyWire>(far_, far_device_);
  wire_->set(loss);
}

void Link::set(const WireConditions& conditions) {
  slow_wire_->set(conditions);
}

void Link::set_rate(std::uint64_t rate_mbit) {
  run_checked(
      words("tc -n " + near_namespace_ + " qdisc change dev " + near_device_ + bucket(rate_mbit)));
}

void Link::set_apart(bool apart) {
  far_.ip("link set " + far_device_ + " type bridge_slave isolated " + (apart ? "on" : "off"));
}

std::unique_ptr<WireWatch> Link::watch() const {
  return std::make_unique<WireWatch>(far_, far_device_);
}

Switch::Switch(std::string namespace_name) : inside_(std::move(namespace_name)) {
  // No spanning tree and no wait before a port forwards: there are no loops here.
  inside_.ip("link add br0 type bridge stp_state 0 forward_delay 0");
  inside_.ip("link set br0 up");
}

Link& Switch::connect(const Namespace& member, const std::string& device, LinkOptions options) {
  const std::string port = "port" + std::to_string(links_.size());
  LinkOptions unshaped = options;
  unshaped.rate_mbit = 0;
  auto link = std::make_unique<Link>(member, device, inside_, port, unshaped);
  shape(member, device, options.rate_mbit);
  inside_.ip("link set " + port + " master br0");
  if (options.conditions) {
    member.run([&] { overlay::set_offloads_off(device).value(); });
    link->slow_wire_ = std::make_unique<UserspaceWire>(inside_, port);
    link->set(*options.conditions);
  }
  links_.push_back(std::move(link));
  return *links_.back();
}

void Switch::add_address(const std::string& address) {
  inside_.ip("addr add " + address + " dev br0");
}

}  // namespace homeport::lab
