// Neighbors: what is asked and answered, and where the datapaths are different. The same frames on
// every datapath; each difference is a line of a table here, and one of docs/ovs-datapath.md.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>

namespace homeport::overlay {
namespace {

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

const policy::IpAddress kUnspecified = boost::asio::ip::make_address("::");

std::string source_option(const policy::MacAddress& mac) {
  return std::string("\1\1", 2) + bytes_of(mac);
}

class Neighbor : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{bpf(), GetParam()};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  const Kind kind_ = fabric_.host(1).kind;

  /// To the group of nodes that the last three bytes of an address belong to (RFC 4291).
  static std::string solicitation(const App& from, const policy::IpAddress& source,
                                  const policy::IpAddress& target, const std::string& options) {
    auto group = boost::asio::ip::make_address_v6("ff02::1:ff00:0").to_bytes();
    const auto bytes = target.to_v6().to_bytes();
    std::copy(bytes.begin() + 13, bytes.end(), group.begin() + 13);
    const policy::MacAddress to = {{0x33, 0x33, 0xff, bytes[13], bytes[14], bytes[15]}};
    return neighbor_discovery(to, from.mac, source, boost::asio::ip::address_v6(group), 135, target,
                              options);
  }
  static bool is_advertisement(const std::string& frame) {
    return frame.size() >= 78 && read16(frame, 12) == 0x86dd && frame[20] == 58 &&
           static_cast<std::uint8_t>(frame[54]) == 136;
  }

  /// What application 1 gets for a frame it sends.
  std::optional<std::string> answer(const std::string& frame,
                                    const std::function<bool(const std::string&)>& wanted) {
    Sniffer sniffer(one_.inside);
    send_frame(one_, frame);
    return sniffer.next(wanted);
  }

  bool counts_more(std::uint64_t TotalCounters::*counter, std::uint64_t than) {
    return eventually([&] { return fabric_.host(1).totals().*counter > than; });
  }
};

TEST_P(Neighbor, ArpIsAnsweredForTheOwner) {
  auto reply = answer(arp(Arp::request, one_.mac, one_.v4, two_.v4), [](const std::string& frame) {
    return read16(frame, 12) == 0x0806 && read16(frame, 20) == 2;
  });
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->substr(0, 42), ethernet(one_.mac, two_.mac, 0x0806,
                                           be16(1) + be16(0x0800) + std::string("\6\4", 2) +
                                               be16(2) + bytes_of(two_.mac) + bytes_of(two_.v4) +
                                               bytes_of(one_.mac) + bytes_of(one_.v4)));
}

TEST_P(Neighbor, SolicitationIsAnsweredForTheOwner) {
  auto reply =
      answer(solicitation(one_, one_.v6, two_.v6, source_option(one_.mac)), is_advertisement);
  ASSERT_TRUE(reply);
  EXPECT_EQ(icmp6_checksum(*reply), 0u);
  EXPECT_EQ(reply->substr(0, 14), ethernet(one_.mac, two_.mac, 0x86dd, ""));
  EXPECT_EQ(reply->substr(22, 32), bytes_of(two_.v6) + bytes_of(one_.v6));
  EXPECT_EQ((*reply)[58], 0x60);  // solicited, override
  EXPECT_EQ(reply->substr(62, 16), bytes_of(two_.v6));
  EXPECT_EQ(reply->substr(78), std::string("\2\1", 2) + bytes_of(two_.mac));
}

TEST_P(Neighbor, DuplicateAddressDetectionIsToldOfTheOwner) {
  // With the nonce that Linux adds (RFC 7527), and without.
  for (const std::string& nonce : {std::string(), std::string("\x0e\1\1\2\3\4\5\6", 8)}) {
    auto reply = answer(solicitation(one_, kUnspecified, two_.v6, nonce), is_advertisement);
    ASSERT_TRUE(reply);
    EXPECT_EQ(icmp6_checksum(*reply), 0u);
    EXPECT_EQ(reply->substr(0, 14), ethernet(kAllNodes, two_.mac, 0x86dd, ""));
    EXPECT_EQ(reply->substr(22, 32),
              bytes_of(two_.v6) + bytes_of(boost::asio::ip::make_address("ff02::1")));
    EXPECT_EQ(reply->substr(62, 16), bytes_of(two_.v6));
  }
}

TEST_P(Neighbor, SolicitationWithoutItsOption) {
  // RFC 4861, section 4.3 wants it. The eBPF datapath answers all the same; a switch has no room
  // for the option of an answer, and gives the question to the owner alone.
  Sniffer owner(two_.inside);
  const std::string question = solicitation(one_, one_.v6, two_.v6, "");
  if (kind_ == Kind::ebpf) {
    auto reply = answer(question, is_advertisement);
    ASSERT_TRUE(reply);
    EXPECT_EQ(icmp6_checksum(*reply), 0u);
    return;
  }
  send_frame(one_, question);
  EXPECT_TRUE(owner.next(
      [&](const std::string& frame) { return frame == bytes_of(two_.mac) + question.substr(6); }));
}

TEST_P(Neighbor, OfOneselfAndOfNobodyIsNotAnswered) {
  const auto nobody4 = boost::asio::ip::make_address("10.0.0.99");
  const auto nobody6 = boost::asio::ip::make_address("fd00::99");
  const TotalCounters before = fabric_.host(1).totals();
  send_frame(one_, arp(Arp::request, one_.mac, boost::asio::ip::address_v4(), one_.v4));
  send_frame(one_, solicitation(one_, kUnspecified, one_.v6, ""));
  EXPECT_TRUE(counts_more(&TotalCounters::probes, before.probes + 1));
  send_frame(one_, arp(Arp::request, one_.mac, one_.v4, nobody4));
  send_frame(one_, solicitation(one_, one_.v6, nobody6, source_option(one_.mac)));
  EXPECT_TRUE(counts_more(&TotalCounters::drop_unknown_neighbor, before.drop_unknown_neighbor + 1));
}

/// Frames that no datapath passes, and where each counts them.
TEST_P(Neighbor, WhatIsCountedElsewhere) {
  using Counter = std::uint64_t TotalCounters::*;
  const auto nobody = boost::asio::ip::make_address("10.0.0.99");
  std::string odd_arp = arp(Arp::request, one_.mac, one_.v4, two_.v4);
  odd_arp[18] = 8;  // the length of its hardware addresses
  std::string no_option = advertisement(one_.mac, one_.mac, two_.v6, two_.v6);
  no_option.resize(78);
  no_option[19] = 24;
  struct Case {
    const char* what;
    std::string frame;
    Counter ebpf, ovs;
  };
  for (const Case& it : {
           Case{"announcement of an address that nobody has",
                arp(Arp::request, one_.mac, nobody, nobody),
                &TotalCounters::drop_forged_announcement, &TotalCounters::drop_unknown_neighbor},
           Case{"ARP of another kind", odd_arp, &TotalCounters::drop_malformed,
                &TotalCounters::drop_multicast},
           Case{"advertisement without its option", no_option, &TotalCounters::drop_multicast,
                &TotalCounters::drop_multicast},
           Case{"solicitation from a MAC address that is not the port's",
                solicitation(two_, two_.v6, fabric_.app(3).v6, source_option(two_.mac)),
                &TotalCounters::neighbor_answers, &TotalCounters::drop_forged_source},
       }) {
    const Counter counter = kind_ == Kind::ebpf ? it.ebpf : it.ovs;
    const std::uint64_t before = fabric_.host(1).totals().*counter;
    send_frame(one_, it.frame);
    EXPECT_TRUE(counts_more(counter, before)) << it.what;
  }
  EXPECT_EQ(fabric_.host(1).totals().announcements, 0u);
  EXPECT_EQ(fabric_.host(1).totals().drop_unknown_port, 0u);
}

TEST_P(Neighbor, WhatDoesNotFitIsAnsweredAndDisturbsNothingBehindIt) {
  for (int number : {1, 2}) fabric_.set_mtu(fabric_.app(number), number, 1500);
  Sniffer sniffer(two_.inside);
  send_frame(one_, transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 17, 1514));
  send_frame(one_, transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 17, 100));
  auto arrived = sniffer.next([](const std::string& frame) { return read16(frame, 12) == 0x0800; });
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->size(), 100u);
  EXPECT_TRUE(counts_more(&TotalCounters::too_big_answers, 0));
}

INSTANTIATE_TEST_SUITE_P(Fleets, Neighbor, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
