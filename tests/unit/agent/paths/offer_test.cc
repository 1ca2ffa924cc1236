// Which interfaces are offered, and why the others are not.
#include "agent/paths/offer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

policy::IpAddress ip(const std::string& text) {
  return boost::asio::ip::make_address(text);
}

/// Of host1, whose VTEP is at eth0.
class OfferTest : public testing::Test {
 protected:
  OfferTest() { add("eth0", "192.0.2.1"); }

  Interface& add(const std::string& name, const std::string& address) {
    Interface interface;
    interface.host = "host1";
    interface.name = name;
    interface.address = ip(address);
    interface.state = LinkState::up;
    return here.emplace_back(interface);
  }
  /// The row of an interface, or of one of that name and address at another host.
  Interface& row(const Interface& interface, const std::string& host = "host1") {
    Interface row = interface;
    row.host = host;
    return rows[Uuid{{static_cast<std::uint8_t>(rows.size() + 1)}}] = row;
  }

  Offer offer() const { return offer_of(here, rows, choice, default_routes); }
  std::vector<std::string> offered() const {
    std::vector<std::string> addresses;
    for (const policy::PathEnd& end : offer().ends) addresses.push_back(end.address.to_string());
    return addresses;
  }
  std::string why_not(const std::string& address) const {
    for (const LeftOut& left : offer().left_out) {
      if (left.end.address == ip(address)) return left.why;
    }
    return "it is offered";
  }

  std::vector<Interface> here;
  std::map<Uuid, Interface> rows;
  UnderlayChoice choice{ip("192.0.2.1"), {}};
  std::set<std::string> default_routes;
};

TEST_F(OfferTest, ThatOfTheVtepIsAlwaysAndOthersAreByName) {
  add("eth1", "198.51.100.1");
  add("wan0", "203.0.113.1");
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1"));
  EXPECT_THAT(why_not("198.51.100.1"), HasSubstr("Nobody has allowed it"));
  choice.interfaces = {"eth?", "x"};
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1", "198.51.100.1"));
  choice.interfaces = {"wan*", "eth1"};
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1", "198.51.100.1", "203.0.113.1"));
  choice.interfaces = {"eth"};
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1")) << "a pattern means the whole name";
}

TEST_F(OfferTest, AllAddressesOfAnInterfaceAreWithThatOfTheVtepFirst) {
  add("eth0", "192.0.2.0");
  add("eth0", "2001:db8::1");
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1", "192.0.2.0", "2001:db8::1"));
}

TEST_F(OfferTest, WithoutTheVtepThereAreThoseThatAreNamed) {
  choice.vtep = ip("192.0.2.77");
  EXPECT_THAT(offered(), IsEmpty());
  choice.interfaces = {"eth0"};
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1"));
}

TEST_F(OfferTest, TheControllerHasTheLastWord) {
  const Interface other = add("eth1", "198.51.100.1");
  Interface& say = row(other);
  say.allowed = true;
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1", "198.51.100.1"));
  say.allowed = false;
  choice.interfaces = {"eth1"};
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1"));
  EXPECT_THAT(why_not("198.51.100.1"), HasSubstr("controller does not allow"));
  say.allowed.reset();
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1", "198.51.100.1")) << "as it is configured";
  row(here.front()).allowed = false;
  EXPECT_THAT(offered(), ElementsAre("198.51.100.1")) << "the VTEP's, too";
}

TEST_F(OfferTest, WhatTheControllerSaysOfOtherHostsAndAddressesIsTheirs) {
  const Interface other = add("eth1", "198.51.100.1");
  row(other, "host2").allowed = true;
  Interface& address = row(other);
  address.address = ip("198.51.100.2");
  address.allowed = true;
  Interface& name = row(other);
  name.name = "eth2";
  name.allowed = true;
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1"));
}

TEST_F(OfferTest, WhatHasNoCarrierIsNotUsedWhoeverAllowsIt) {
  add("eth1", "198.51.100.1").state = LinkState::down;
  choice.interfaces = {"*"};
  row(here.back()).allowed = true;
  EXPECT_THAT(offered(), ElementsAre("192.0.2.1"));
  EXPECT_THAT(why_not("198.51.100.1"), HasSubstr("no carrier"));
  here.front().state = LinkState::down;
  EXPECT_THAT(offered(), IsEmpty());
}

TEST_F(OfferTest, NoMoreThanAPeerTakesAndTheVtepIsAmongThem) {
  choice = {ip("192.0.2.9"), {"*"}};
  for (int i = 2; i <= 10; ++i) add("eth0", fmt::format("192.0.2.{}", i));
  EXPECT_THAT(offered(), SizeIs(policy::kMostEnds));
  EXPECT_EQ(offered().front(), "192.0.2.9");
  EXPECT_THAT(why_not("192.0.2.10"), HasSubstr("more than 8 addresses"));
  EXPECT_THAT(why_not("192.0.2.8"), HasSubstr("more than 8 addresses"));
  EXPECT_EQ(why_not("192.0.2.7"), "it is offered");
}

TEST_F(OfferTest, SaysWhatIsKnownOfEach) {
  here.front().speed_mbps = 10'000;
  here.front().mtu = 9000;
  Interface& say = row(here.front());
  say.cost = 7;
  say.label = "fiber";
  say.speed_mbps = 1;  // the kernel knows
  default_routes = {"eth0"};
  const policy::PathEnd expected{.address = ip("192.0.2.1"),
                                 .interface = "eth0",
                                 .speed = 10'000'000'000,
                                 .mtu = 9000,
                                 .cost = 7,
                                 .labels = {"fiber"},
                                 .default_route = true};
  EXPECT_THAT(offer().ends, ElementsAre(expected));
  here.front().speed_mbps = -1;
  here.front().mtu = -1;
  say.cost = -1;
  say.label.clear();
  default_routes = {"eth1"};
  EXPECT_THAT(offer().ends, ElementsAre(policy::PathEnd{ip("192.0.2.1"), "eth0"}));
}

TEST_F(OfferTest, OfNoInterfaceIsNothing) {
  row(here.front());  // as the database still has it
  const Offer offer = offer_of({}, rows, choice, default_routes);
  EXPECT_THAT(offer.ends, IsEmpty());
  EXPECT_THAT(offer.left_out, IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
