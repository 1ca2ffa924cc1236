// By which way probes leave a host, and which it refuses: a host with two devices in one subnet.
#include "overlay/datapath/probe_sender.h"
#include "overlay/datapath/probe_frame.h"
#include "overlay/link/route.h"
#include "overlay/link/source_route.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;

class ProbesLeave : public testing::TestWithParam<Underlay> {
 protected:
  ProbesLeave() {
    for (const char* device : {"one", "two"}) {
      host_.run([&] {
        create_veth(device, device, network_.fd());
        set_link_up(device, true).value();
        add_address(device, device == std::string("one") ? first_ : second_, v6_ ? 64 : 24);
      });
      network_.run([&] { set_link_up(device, true).value(); });
      // Nobody is there to answer.
      host_.shell("ip neighbor replace " + remote_.to_string() + " lladdr 02:00:00:00:00:09 dev " +
                  device);
    }
    // The kernel has routes of IPv6 a moment after carrier comes up.
    if (!eventually([&] { return host_.run([&] { return has_source_routes(); }); })) {
      throw std::runtime_error("the host does not route by the source");
    }
  }

  bool has_source_routes() const {
    auto addresses = list_addresses().value();
    std::erase_if(addresses, [&](const LinkAddress& each) {
      return each.address != first_ && each.address != second_;
    });
    keep_source_routes({}, addresses).value();
    return find_route(remote_, first_).value().device == find_link("one").value().index &&
           find_route(remote_, second_).value().device == find_link("two").value().index;
  }

  Result<void> send(const policy::IpAddress& from, std::uint32_t size = 0) {
    return host_.run([&] { return sender_.send({{from, remote_}, 4711, size}); });
  }
  Sniffer sniffer(const char* device) const { return Sniffer(network_, device); }
  /// Whether a frame is such a probe.
  auto is_from(const policy::IpAddress& from) const {
    return [this, from](const std::string& frame) {
      const std::size_t udp = v6_ ? 54 : 34;
      return frame.size() > udp + 8 &&
             frame.substr(v6_ ? 22 : 26, v6_ ? 16 : 4) == bytes_of(from) &&
             read16(frame, udp + 2) == kUdpPort && read_probe(frame.substr(udp + 16)).has_value();
    };
  }

  const bool v6_ = GetParam() == Underlay::v6;
  const policy::IpAddress first_ = make_address(v6_ ? "2001:db8::1" : "192.0.2.1");
  const policy::IpAddress second_ = make_address(v6_ ? "2001:db8::2" : "192.0.2.2");
  const policy::IpAddress remote_ = make_address(v6_ ? "2001:db8::9" : "192.0.2.9");
  NetNamespace host_, network_;
  ProbeSender sender_{kUdpPort};
};

TEST_P(ProbesLeave, ByTheDeviceThatHasTheirAddress) {
  Sniffer one = sniffer("one"), two = sniffer("two");
  send(first_).value();
  send(second_).value();
  EXPECT_TRUE(one.next(is_from(first_)));
  EXPECT_TRUE(two.next(is_from(second_)));
  EXPECT_FALSE(one.pending(is_from(second_)));
  EXPECT_FALSE(two.pending(is_from(first_)));
}

TEST_P(ProbesLeave, WholeOrNotAtAll) {
  Sniffer two = sniffer("two");
  send(second_, 1500).value();
  const auto frame = two.next(is_from(second_));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->size(), 1514u);
  if (!v6_) {
    EXPECT_EQ(read16(*frame, 20), 0x4000u);  // not to be fragmented
  }
  EXPECT_EQ(read16(*frame, v6_ ? 60 : 40), 0u);  // without a checksum
  EXPECT_EQ(send(second_, 1501).error().code, boost::system::errc::message_size);
  host_.run([] { set_link_mtu("two", 1400).value(); });
  EXPECT_EQ(send(second_, 1401).error().code, boost::system::errc::message_size);
  EXPECT_TRUE(send(second_, 1400));
  EXPECT_TRUE(send(first_, 1500));
}

// What was learned of a path is what a probe is to find out anew.
TEST_P(ProbesLeave, WhateverWasLearnedOfThePath) {
  host_.run([] { keep_source_routes({}, {}).value(); });
  host_.shell("ip route replace " + remote_.to_string() + " dev two mtu 1300");
  Sniffer two = sniffer("two");
  send(second_, 1500).value();
  const auto frame = two.next(is_from(second_));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->size(), 1514u);
}

TEST_P(ProbesLeave, FromAddressesOfTheHostOnly) {
  const auto strange = make_address(v6_ ? "2001:db8::77" : "192.0.2.77");
  EXPECT_FALSE(send(strange));
  host_.run([&] { remove_address("two", second_, v6_ ? 64 : 24); });
  EXPECT_FALSE(send(second_));
  host_.run([&] { add_address("two", second_, v6_ ? 64 : 24); });
  EXPECT_TRUE(send(second_));
  const auto other = v6_ ? make_address("192.0.2.1") : make_address("2001:db8::1");
  EXPECT_EQ(send(other).error().code, boost::system::errc::address_family_not_supported);
}

INSTANTIATE_TEST_SUITE_P(, ProbesLeave, testing::Values(Underlay::v4, Underlay::v6),
                         [](const auto& info) {
                           return info.param == Underlay::v4 ? "OverIpv4" : "OverIpv6";
                         });

}  // namespace
}  // namespace homeport::overlay
