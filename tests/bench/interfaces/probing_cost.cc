#include "tests/bench/interfaces/probing_cost.h"

#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "tests/bench/interfaces/system.h"
#include "tests/lab/lab.h"

namespace homeport::lab {
namespace {

namespace json = boost::json;

json::array peers_of(const Host& host) {
  const std::string reply = host.get("/v1/paths");
  boost::system::error_code bad;
  const auto body = json::parse(reply.substr(std::min(reply.size(), reply.find("\r\n\r\n"))), bad);
  if (bad || !body.is_object() || !body.as_object().contains("peers")) return {};
  return body.at("peers").as_array();
}

bool agreed(const json::value& peer) {
  for (const json::value& of : peer.at("classes").as_array()) {
    const auto good = of.at("candidates").at("good").to_number<int>();
    if (of.at("state") != json::value("agreed") || good < 4) return false;
  }
  return true;
}

struct Counted {
  std::uint64_t asks = 0, bytes = 0;
  double processor_seconds = 0;
};

Counted counted(Host& host) {
  Counted all;
  for (const json::value& peer : peers_of(host)) {
    all.asks += peer.at("probes_sent").to_number<std::uint64_t>();
  }
  for (const char* device : {"eth0", "eth1"}) {
    const auto shown = json::parse(host.inside().ip(std::string("-s -j link show dev ") + device));
    for (const char* direction : {"rx", "tx"}) {
      all.bytes += shown.at(0).at("stats64").at(direction).at("bytes").to_number<std::uint64_t>();
    }
  }
  // proc(5): utime and stime, the 14th and 15th, are the 12th and 13th behind the name.
  const std::string stat = read_text("/proc/" + std::to_string(host.agent().pid()) + "/stat");
  const Command fields = words(stat.substr(stat.rfind(')') + 2));
  all.processor_seconds =
      static_cast<double>(std::stoull(fields.at(11)) + std::stoull(fields.at(12))) /
      static_cast<double>(sysconf(_SC_CLK_TCK));
  return all;
}

/// A network of their own for `host` and `peer`, with an application on each.
void join(Lab& lab, unsigned number, Host& host, Host& peer) {
  const std::string network = "net" + std::to_string(number);
  lab.homeport_checked(
      fmt::format("network add {} --vni {} --subnet 10.2.{}.0/24", network, 1000 + number, number));
  for (Host* each : {&host, &peer}) {
    const unsigned own = each == &host ? 1 : 2;
    const std::string device = "app" + std::to_string(number);
    each->inside().ip(fmt::format("link add {0} type veth peer name {0}-end", device));
    for (const char* end : {"", "-end"}) each->inside().ip("link set up dev " + device + end);
    lab.homeport_checked(
        fmt::format("app add app{0}-{1} --driver netdev --device {2} --network {3} "
                    "--mac 52:54:00:02:{0:02x}:0{1} --ip 10.2.{0}.{1} --host {4}",
                    number, own, device, network, each->name()));
  }
}

}  // namespace

std::vector<ProbingCost> probing_cost(std::size_t peers, std::chrono::seconds time, unsigned runs) {
  Lab lab("probing");
  for (std::size_t i = 0; i <= peers; ++i) {
    lab.add_host("host" + std::to_string(i), {.underlay = kUnderlay,
                                              .memory_mib = 16,
                                              .watch_taps = false,
                                              .second_underlay = kUnderlay});
  }
  lab.route_underlays();
  lab.start_agents();
  const std::vector<Host*> hosts = lab.hosts();
  for (unsigned i = 1; i < hosts.size(); ++i) join(lab, i, *hosts[0], *hosts[i]);
  Host& host = lab.host("host0");
  json::array known;
  wait_until(
      [&] {
        known = peers_of(host);
        return known.size() == peers && std::all_of(known.begin(), known.end(), agreed);
      },
      300s, "all to agree",
      [&] { return fmt::format("of {} peers: {}", known.size(), json::serialize(known)); });
  let_pass(4 * time);
  std::vector<ProbingCost> all;
  while (all.size() < runs) {
    const Counted before = counted(host);
    const auto begin = Clock::now();
    let_pass(time);
    const Counted after = counted(host);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    all.push_back(
        {.ways = 4 * peers,
         .asks_per_second = static_cast<double>(after.asks - before.asks) / seconds,
         .bytes_per_second = static_cast<double>(after.bytes - before.bytes) / seconds,
         .processor_share = (after.processor_seconds - before.processor_seconds) / seconds});
  }
  return all;
}

}  // namespace homeport::lab
