// Applications that believe in more than the overlay carries, through real agents: TCP learns what
// fits, datagrams arrive whole all the same, on either datapath and between the two.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/bulk.h"
#include "tests/lab/fleet.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using boost::asio::ip::udp;
using testing::IsEmpty;

/// An application, where it is and what its host's end of it is called.
struct Place {
  const Namespace& inside;
  Host& host;
  std::string device;
  std::string ipv4, ipv6;

  std::string address(bool v6) const { return v6 ? ipv6 : ipv4; }
};

/// Of the agent's packets of that kind, by what it says itself.
std::uint64_t counter(const Host& host, const std::string& name) {
  const std::string told = host.get("/v1/datapath");
  std::smatch found;
  if (std::regex_search(told, found, std::regex("\"" + name + "\":([0-9]+)"))) {
    return std::stoull(found[1]);
  }
  ADD_FAILURE() << "no " << name << " in " << told;
  return 0;
}

class Datagrams {
 public:
  Datagrams(const Namespace& inside, bool v6) : socket_(io_) {
    inside.run([&] { socket_ = udp::socket(io_, {v6 ? udp::v6() : udp::v4(), 0}); });
  }

  /// IPv4 then carries no don't-fragment bit, whatever the kernel knows of the way.
  void let_fragment() {
    const int mode = IP_PMTUDISC_DONT;
    ::setsockopt(socket_.native_handle(), IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof(mode));
  }
  void send(const std::string& to, const Datagrams& at, const std::string& data) {
    const auto port = at.socket_.local_endpoint().port();
    socket_.send_to(boost::asio::buffer(data), {boost::asio::ip::make_address(to), port});
  }
  /// Empty when none has come within 10 s.
  std::string receive() {
    pollfd readable{.fd = socket_.native_handle(), .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, 10'000) != 1) return {};
    std::string data(65536, '\0');
    data.resize(socket_.receive(boost::asio::buffer(data)));
    return data;
  }

 private:
  boost::asio::io_context io_;
  udp::socket socket_;
};

/// A container on A, a client on C; the parameter says whose datapath is Open vSwitch's. The fleet
/// stays for the next test if that is of the same kind, as it is in the programs that ctest runs.
class Believers : public testing::TestWithParam<std::string> {
 protected:
  static Fleet& fleet_with(const std::string& open_vswitch) {
    if (!kept_ || kept_with_ != open_vswitch) {
      kept_.reset();
      kept_ = std::make_unique<Fleet>(FleetOptions{
          .name = "size", .containers = true, .host_access = false, .open_vswitch = open_vswitch});
      kept_with_ = open_vswitch;
    }
    return *kept_;
  }
  static void TearDownTestSuite() { kept_.reset(); }

  static std::unique_ptr<Fleet> kept_;
  static std::string kept_with_;
  Fleet& fleet_ = fleet_with(GetParam());
  const Place container_{*fleet_.containers().front(), fleet_.a(), kContainerDevice,
                         fleet_.options().ipv4, fleet_.options().ipv6};
  const Place client_{fleet_.lab().client(), fleet_.c(), "cli0", "10.1.0.2", "fd01::2"};

  void TearDown() override {
    EXPECT_THAT(fleet_.lab().complaints({}), IsEmpty());
    if (HasFailure()) kept_.reset();
  }

  /// Both, and neither knows yet that less is carried.
  void believe_in(unsigned mtu) const {
    const std::string set = " mtu " + std::to_string(mtu);
    for (const Place* place : {&container_, &client_}) {
      place->inside.ip("link set eth0" + set);
      place->host.inside().ip("link set " + place->device + set);
      for (const char* family : {"-4", "-6"}) {
        place->inside.ip(std::string(family) + " route flush cache");
      }
      // A userspace switch reads from a device no more than it knows its MTU to be.
      if (!place->host.has_open_vswitch()) continue;
      place->host.open_vswitch().vsctl("wait-until Interface " + place->device +
                                       " mtu=" + std::to_string(mtu));
    }
  }
  /// Whether the sender's kernel has been told what fits on the way.
  static bool knows(const Place& from, const std::string& to) {
    return from.inside.ip("route get " + to).find("mtu 1430") != std::string::npos;
  }
  std::vector<std::pair<const Place*, const Place*>> ways() const {
    return {{&container_, &client_}, {&client_, &container_}};
  }
};

std::unique_ptr<Fleet> Believers::kept_;
std::string Believers::kept_with_;

TEST_P(Believers, TcpLearnsWhatFitsAndArrivesWhole) {
  for (const unsigned mtu : {1500u, 9000u}) {
    for (const auto& [from, to] : ways()) {
      for (const bool v6 : {false, true}) {
        SCOPED_TRACE(to->address(v6) + ", MTU " + std::to_string(mtu));
        believe_in(mtu);
        const auto answers = counter(from->host, "too_big_answers");
        const auto fragmented = counter(from->host, "fragmented");
        EXPECT_EQ(test::send_bulk(from->inside, to->inside,
                                  boost::asio::ip::make_address(to->address(v6))),
                  "");
        EXPECT_GT(counter(from->host, "too_big_answers"), answers);
        EXPECT_EQ(counter(from->host, "fragmented"), fragmented);
      }
    }
  }
}

TEST_P(Believers, DatagramsThatMayBeFragmentedArriveWholeAndAreCounted) {
  for (const unsigned mtu : {1500u, 9000u}) {
    believe_in(mtu);
    for (const auto& [from, to] : ways()) {
      SCOPED_TRACE(to->ipv4 + ", MTU " + std::to_string(mtu));
      Datagrams sender(from->inside, false), receiver(to->inside, false);
      sender.let_fragment();
      const auto fragmented = counter(from->host, "fragmented");
      const auto answers = counter(from->host, "too_big_answers");
      for (const char what : {'a', 'b', 'c'}) {
        const std::string data(mtu - 28, what);
        sender.send(to->ipv4, receiver, data);
        ASSERT_TRUE(receiver.receive() == data) << what;
      }
      EXPECT_EQ(counter(from->host, "fragmented"), fragmented + 3);
      EXPECT_EQ(counter(from->host, "too_big_answers"), answers);
    }
  }
}

/// Over IPv6 only a sender fragments, when it has been told to.
TEST_P(Believers, DatagramsOfIpv6ArriveWholeOnceTheSenderIsTold) {
  for (const unsigned mtu : {1500u, 9000u}) {
    believe_in(mtu);
    for (const auto& [from, to] : ways()) {
      SCOPED_TRACE(to->ipv6 + ", MTU " + std::to_string(mtu));
      Datagrams sender(from->inside, true), receiver(to->inside, true);
      const auto answers = counter(from->host, "too_big_answers");
      sender.send(to->ipv6, receiver, std::string(mtu - 48, 'x'));
      wait_until([&, from = from, to = to] { return knows(*from, to->ipv6); }, 10s,
                 "the sender to be told");
      EXPECT_EQ(counter(from->host, "too_big_answers"), answers + 1);
      const std::string data(mtu - 48, 'y');
      sender.send(to->ipv6, receiver, data);
      EXPECT_TRUE(receiver.receive() == data);
      EXPECT_EQ(counter(from->host, "too_big_answers"), answers + 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fleets, Believers, testing::Values("", "A", "ABC"), [](const auto& info) {
  const std::string& hosts = info.param;
  return hosts.empty() ? "Ebpf" : hosts == "A" ? "Mixed" : "Ovs";
});

}  // namespace
}  // namespace homeport::lab
