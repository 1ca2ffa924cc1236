#include "tests/bench/interfaces/homeport_system.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

#include "overlay/link/link.h"
#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

namespace json = boost::json;

/// What the agent says of its class of traffic on the way to a peer; null: nothing yet.
json::value of_class(const Host& host, const std::string& peer, const std::string& traffic) {
  const std::string reply = host.get("/v1/paths/" + peer);
  boost::system::error_code bad;
  const auto body = json::parse(reply.substr(std::min(reply.size(), reply.find("\r\n\r\n"))), bad);
  if (bad || !body.is_object() || !body.as_object().contains("classes")) return nullptr;
  for (const json::value& each : body.at("classes").as_array()) {
    if (each.at("class") == json::value(traffic)) return each;
  }
  return nullptr;
}

std::string name_of(const json::value& path) {
  if (!path.is_object()) return "none";
  const auto interface = [&](const char* end) {
    const json::value& name = path.at(end).at("interface");
    return name.is_string() ? std::string(name.as_string()) : std::string("?");
  };
  return interface("local") + " - " + interface("remote");
}

/// Both of a switch's pairs that can carry are known to.
bool settled(const json::value& of) {
  if (!of.is_object() || of.at("state") != json::value("agreed") ||
      name_of(of.at("path")) != name_of(of.at("peer_path"))) {
    return false;
  }
  const auto& standings = of.at("candidates").as_object();
  return standings.at("good").to_number<int>() >= 2;
}

}  // namespace

HomeportSystem::HomeportSystem(const HomeportOptions& options)
    : options_(options), lab_("interfaces") {
  number_apart(own_name("underlay2"));
  LinkOptions underlay = kUnderlay;
  for (const char* name : {"hostA", "hostB"}) {
    // One wire at each switch is enough: the destination's.
    const bool last = name == std::string_view("hostB");
    if (last && options.delay.count() != 0) underlay.conditions = WireConditions{};
    lab_.add_host(
        name,
        {.underlay = underlay, .memory_mib = 16, .watch_taps = false, .second_underlay = underlay});
  }
  source_ = &lab_.host("hostA");
  destination_ = &lab_.host("hostB");
  lab_.add_network();
  if (options.fast) lab_.homeport_checked("path limit all --detection fast");
  lab_.start_agents();
  client_ = &lab_.add_client(*source_);
  sink_ = &lab_.add_container({}, *destination_);
  lab_.add_container_application({}, *destination_);
  if (options.interactive) lab_.homeport_checked("app set client --class interactive");
  if (options.delay.count() != 0) {
    for (const char* device : {"eth0", "eth1"}) {
      source_->inside().run([&] { overlay::set_offloads_off(device).value(); });
    }
    for (const Namespace* each : {client_, sink_}) {
      each->run([] { overlay::set_offloads_off("eth0").value(); });
    }
  }
  wait_settled();
}

void HomeportSystem::begin_delay(std::size_t interface) {
  link(Side::destination, interface).set({.delay = options_.delay});
}

const Namespace& HomeportSystem::host(Side side) const {
  return side == Side::source ? source_->inside() : destination_->inside();
}

Link& HomeportSystem::link(Side side, std::size_t interface) {
  Host& host = side == Side::source ? *source_ : *destination_;
  return interface == 0 ? host.underlay() : host.second_underlay();
}

void HomeportSystem::wait_settled() const {
  const std::string traffic = options_.interactive ? "interactive" : "default";
  json::value here, there;
  wait_until(
      [&] {
        here = of_class(*source_, destination_->name(), traffic);
        there = of_class(*destination_, source_->name(), traffic);
        return settled(here) && settled(there);
      },
      30s, "the hosts to agree on a path and to know another",
      [&] { return json::serialize(here) + "\n" + json::serialize(there); });
}

std::string HomeportSystem::path() const {
  const json::value of =
      of_class(*source_, destination_->name(), options_.interactive ? "interactive" : "default");
  return of.is_object() ? name_of(of.at("path")) : "none";
}

std::unique_ptr<Traffic> HomeportSystem::start_traffic() {
  const std::string address = GuestOptions().ipv4;
  wait_answers(*client_, address);
  return std::make_unique<DatagramTraffic>(*client_, address, *sink_, next_log(lab_.directory()));
}

}  // namespace homeport::lab
