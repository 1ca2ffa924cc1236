#include "tests/bench/interfaces/probing_cost.h"

#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

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
    if (of.at("state") != json::value("agreed") || good < 2) return false;
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

}  // namespace

std::vector<ProbingCost> probing_cost(std::size_t peers, std::chrono::seconds time, unsigned runs) {
  Lab lab("probing");
  for (std::size_t i = 0; i <= peers; ++i) {
    lab.add_host("host" + std::to_string(i), {.underlay = kUnderlay,
                                              .memory_mib = 16,
                                              .watch_taps = false,
                                              .second_underlay = kUnderlay});
  }
  lab.add_network(false);
  lab.start_agents();
  for (std::size_t i = 0; i <= peers; ++i) {
    const std::string number = std::to_string(10 + i);
    GuestOptions application;
    application.name = "app" + number;
    application.mac = "52:54:00:00:02:" + number;
    application.ipv4 = "10.1.0." + number;
    application.ipv6 = "fd01::" + number;
    Host& host = lab.host("host" + std::to_string(i));
    lab.add_container(application, host);
    lab.add_container_application(application, host);
  }
  Host& host = lab.host("host0");
  json::array known;
  wait_until(
      [&] {
        known = peers_of(host);
        return known.size() == peers && std::all_of(known.begin(), known.end(), agreed);
      },
      60s, "all to agree", [&] { return json::serialize(known); });
  let_pass(4 * time);
  std::vector<ProbingCost> all;
  while (all.size() < runs) {
    const Counted before = counted(host);
    const auto begin = Clock::now();
    let_pass(time);
    const Counted after = counted(host);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    all.push_back(
        {.ways = 2 * peers,
         .asks_per_second = static_cast<double>(after.asks - before.asks) / seconds,
         .bytes_per_second = static_cast<double>(after.bytes - before.bytes) / seconds,
         .processor_share = (after.processor_seconds - before.processor_seconds) / seconds});
  }
  return all;
}

}  // namespace homeport::lab
