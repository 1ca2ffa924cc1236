#include "tests/bench/interfaces/system.h"
#include "tests/lab/lab.h"

namespace homeport::lab {
namespace fs = std::filesystem;
namespace {

constexpr Side kSides[] = {Side::source, Side::destination};
constexpr const char* kNames[] = {"source", "destination"};
constexpr const char* kMacs[] = {"02:00:00:00:01:02", "02:00:00:00:01:05"};
constexpr const char* kAddresses[] = {"10.1.0.2", PlainHosts::kSinkAddress};

}  // namespace

PlainHosts::PlainHosts() : directory_(fs::temp_directory_path() / own_name("interfaces")) {
  fs::create_directories(directory_);
  cleanup_.add("directory " + directory_.string(), [this] { fs::remove_all(directory_); });
  for (std::size_t i : {0u, 1u}) {
    switches_[i] = std::make_unique<Switch>(own_name("underlay" + std::to_string(i)));
  }
  number_apart(switches_[1]->inside().name());
  for (Side side : kSides) {
    const std::size_t at = index(side);
    hosts_[at] = std::make_unique<Namespace>(own_name(kNames[at]));
    for (std::size_t i : {0u, 1u}) {
      const std::string device = "eth" + std::to_string(i);
      links_[at][i] = &switches_[i]->connect(*hosts_[at], device, kUnderlay);
      hosts_[at]->ip("addr add " + address(side, i) + "/24 dev " + device);
    }
    applications_[at] = std::make_unique<Namespace>(own_name(std::string("app-") + kNames[at]));
    const Namespace& application = *applications_[at];
    // What fits every tunnel.
    application_links_.push_back(std::make_unique<Link>(application, "eth0", *hosts_[at], kDevice,
                                                        LinkOptions{.rate_mbit = 0, .mtu = 1400}));
    application.ip(std::string("link set eth0 address ") + kMacs[at]);
    application.ip(std::string("addr add ") + kAddresses[at] + "/24 dev eth0");
    application.ip(std::string("neigh replace ") + kAddresses[1 - at] + " lladdr " + kMacs[1 - at] +
                   " nud permanent dev eth0");
  }
}

std::unique_ptr<Traffic> PlainHosts::start_datagrams() const {
  wait_answers(application(Side::source), kSinkAddress);
  return std::make_unique<DatagramTraffic>(application(Side::source), kSinkAddress,
                                           application(Side::destination), next_log(directory_));
}

void number_apart(const std::string& second_switch) {
  // As many as it takes for its ports' numbers to begin behind those of a host's devices.
  for (const char* device : {"apart0", "apart1", "apart2", "apart3"}) {
    run_checked(words("ip -n " + second_switch + " link add " + device + " type bridge"));
  }
}

void wait_answers(const Namespace& from, const std::string& address) {
  wait_until(
      [&] {
        return run_command({"busybox", "ping", "-c1", "-W1", address}, {.inside = &from}).status ==
               0;
      },
      20s, address + " to answer");
}

}  // namespace homeport::lab
