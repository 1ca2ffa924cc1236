// Who has moved: what others tell, and who has been told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/network/arrivals.h"
#include "agent/network/departures.h"
#include "agent/network/hearsay.h"

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Verdict = Hearsay::Verdict;

/// Hosts A to D, a VM at A by generation 3, clients at C and D in the same network.
class Mobility : public testing::Test {
 protected:
  Mobility() {
    for (int number = 1; number <= 4; ++number) {
      Host host;
      host.name = std::string("host") + static_cast<char>('A' + number - 1);
      host.vteps = {boost::asio::ip::make_address_v4(0xc0000200u + static_cast<unsigned>(number))};
      contents.hosts[host.name] = host;
    }
    Network network;
    network.name = "net1";
    network.vni = 100;
    contents.networks["net1"] = network;
    place("vm1", "hostA", 3);
    place("client1", "hostC", 1);
    place("client2", "hostD", 1);
  }

  void place(const std::string& name, const std::string& host, policy::Generation generation) {
    Binding binding;
    binding.name = binding.application = name;
    binding.network = "net1";
    binding.location = host;
    binding.generation = generation;
    contents.bindings.insert_or_assign(name, binding);
  }

  Verdict hear(const std::string& from, const Moved& moved) {
    return hearsay.hear(contents, reading, from, moved, now).verdict;
  }

  bool reading = false;
  Contents contents;
  Hearsay hearsay;
  Hearsay::Time now{};
};

TEST_F(Mobility, TheOwnerIsBelievedAndNobodyElse) {
  EXPECT_EQ(hear("hostD", {"vm1", "hostD", 4}), Verdict::refused);  // takes it
  EXPECT_EQ(hear("hostD", {"vm1", "hostB", 4}), Verdict::refused);  // sends it away
  EXPECT_THAT(hearsay.told(), IsEmpty());
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 4}), Verdict::news);
  EXPECT_EQ(hearsay.told().at("vm1").host, "hostB");
  EXPECT_EQ(hearsay.told().at("vm1").generation, 4u);
  // From now on it is B's to give, ahead of the database.
  EXPECT_EQ(hear("hostA", {"vm1", "hostD", 5}), Verdict::refused);
  EXPECT_EQ(hear("hostB", {"vm1", "hostD", 5}), Verdict::news);
  EXPECT_EQ(hearsay.told().at("vm1").host, "hostD");
}

TEST_F(Mobility, OldNewsIsKnown) {
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 2}), Verdict::known);
  EXPECT_EQ(hear("hostA", {"vm1", "hostA", 3}), Verdict::known);
  EXPECT_EQ(hear("hostA", {"nobody", "hostB", 9}), Verdict::known);
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 4}), Verdict::news);
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 4}), Verdict::known);  // told again
  EXPECT_THAT(hearsay.alarms(), IsEmpty());
}

TEST_F(Mobility, NothingIsConfirmedOfWhatIsBeingRead) {
  reading = true;
  EXPECT_EQ(hear("hostA", {"vm2", "hostB", 4}), Verdict::refused);
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 4}), Verdict::news);  // it is here
  place("vm2", "hostA", 3);  // from a server that has not heard of the move
  EXPECT_EQ(hear("hostA", {"vm2", "hostB", 4}), Verdict::news);
  reading = false;
  EXPECT_EQ(hear("hostA", {"vm3", "hostB", 4}), Verdict::known);
}

TEST_F(Mobility, AHostThatIsNotThereIsRefused) {
  EXPECT_EQ(hear("hostA", {"vm1", "hostX", 4}), Verdict::refused);
  contents.hosts["hostB"].vteps.clear();
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 4}), Verdict::refused);
}

TEST_F(Mobility, TheDatabaseCatchesUp) {
  hear("hostA", {"vm1", "hostB", 4});
  hearsay.follow(contents, true, now + 1s);  // not yet
  EXPECT_EQ(hearsay.told().size(), 1u);
  place("vm1", "hostB", 4);
  hearsay.follow(contents, true, now + 2s);
  EXPECT_THAT(hearsay.told(), IsEmpty());
  EXPECT_THAT(hearsay.alarms(), IsEmpty());
  // Or overtakes.
  hear("hostB", {"vm1", "hostA", 5});
  place("vm1", "hostD", 6);
  hearsay.follow(contents, true, now + 3s);
  EXPECT_THAT(hearsay.told(), IsEmpty());
  EXPECT_THAT(hearsay.alarms(), IsEmpty());
}

TEST_F(Mobility, NewsIsKeptWhileTheDatabaseIsAwayAndNotForLongOtherwise) {
  hear("hostA", {"vm1", "hostB", 4});
  hearsay.follow(contents, false, now + 1h);
  EXPECT_EQ(hearsay.told().size(), 1u);
  hearsay.follow(contents, true, now + Hearsay::kUnconfirmed + 1s);
  EXPECT_THAT(hearsay.told(), IsEmpty());
}

TEST_F(Mobility, EqualGenerationsRaiseAnAlarmAndTheDatabaseIsKept) {
  EXPECT_EQ(hear("hostC", {"vm1", "hostB", 3}), Verdict::refused);
  EXPECT_EQ(hear("hostA", {"vm1", "hostX", 3}), Verdict::refused);
  EXPECT_THAT(hearsay.alarms(), IsEmpty());  // nobody whom it concerns, or nowhere
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 3}), Verdict::refused);
  EXPECT_THAT(hearsay.alarms(), ElementsAre(HasSubstr("at hostA and at hostB by the same gen")));
  EXPECT_THAT(hearsay.told(), IsEmpty());
  hearsay.follow(contents, true, now);
  EXPECT_EQ(hearsay.alarms().size(), 1u);  // until it is settled
  place("vm1", "hostA", 4);
  hearsay.follow(contents, true, now);
  EXPECT_THAT(hearsay.alarms(), IsEmpty());
  // The other way round: told first, and the database says otherwise.
  EXPECT_EQ(hear("hostA", {"vm1", "hostB", 5}), Verdict::news);
  place("vm1", "hostD", 5);
  hearsay.follow(contents, true, now);
  EXPECT_THAT(hearsay.told(), IsEmpty());
  EXPECT_THAT(hearsay.alarms(), ElementsAre(HasSubstr("at hostD and at hostB by the same gen")));
}

TEST_F(Mobility, OnlyThoseThatMaySendAreTold) {
  place("vm2", "hostB", 1);
  contents.networks["net2"] = contents.networks["net1"];
  contents.networks["net2"].name = "net2";
  Binding other = contents.bindings.at("client2");
  other.network = "net2";
  contents.bindings.insert_or_assign("client2", other);
  EXPECT_THAT(senders(contents, "net1", "hostA"), ElementsAre("hostB", "hostC"));
  EXPECT_THAT(senders(contents, "net2", "hostA"), ElementsAre("hostD"));
  contents.networks["net1"].host_access = true;
  EXPECT_THAT(senders(contents, "net1", "hostA"), ElementsAre("hostB", "hostC", "hostD"));
}

TEST_F(Mobility, ItIsSentOnUntilAllHaveConfirmedAndALittleLonger) {
  Departures departures("hostA");
  departures.follow(contents, {"vm1"}, now);
  EXPECT_EQ(departures.size(), 0u);  // it is here
  place("vm1", "hostB", 4);
  departures.follow(contents, {"vm1"}, now);
  EXPECT_THAT(departures.peers(), ElementsAre("hostC", "hostD"));  // B has it
  EXPECT_THAT(departures.untold("hostC"), ElementsAre(Moved{"vm1", "hostB", 4}));
  departures.confirmed("hostC", "vm1", 4, now);
  departures.confirmed("hostC", "vm1", 4, now);
  departures.confirmed("hostD", "vm1", 3, now);  // of another time
  EXPECT_THAT(departures.untold("hostC"), IsEmpty());
  EXPECT_THAT(departures.peers(), ElementsAre("hostD"));
  EXPECT_THAT(departures.settled(now + 1h), IsEmpty());
  departures.confirmed("hostD", "vm1", 4, now + 1h);
  EXPECT_THAT(departures.settled(now + 1h), IsEmpty());
  EXPECT_THAT(departures.settled(now + 1h + Departures::kLinger), ElementsAre("vm1"));
  departures.follow(contents, {}, now);
  EXPECT_EQ(departures.size(), 0u);
}

TEST_F(Mobility, ANewerGenerationIsToldAnewAndANewSenderToo) {
  Departures departures("hostA");
  place("vm1", "hostB", 4);
  departures.follow(contents, {"vm1"}, now);
  departures.confirmed("hostC", "vm1", 4, now);
  departures.confirmed("hostD", "vm1", 4, now);
  place("vm2", "hostB", 1);
  contents.networks["net1"].host_access = true;
  Host late;
  late.name = "hostE";
  contents.hosts["hostE"] = late;
  departures.follow(contents, {"vm1"}, now + 1s);
  EXPECT_THAT(departures.peers(), ElementsAre("hostE"));
  EXPECT_THAT(departures.settled(now + 1h), IsEmpty());
  place("vm1", "hostC", 5);
  departures.follow(contents, {"vm1"}, now + 2s);
  EXPECT_THAT(departures.peers(), ElementsAre("hostB", "hostD", "hostE"));
  // And when it comes back there is nothing to tell.
  place("vm1", "hostA", 6);
  departures.follow(contents, {"vm1"}, now + 3s);
  EXPECT_EQ(departures.size(), 0u);
}

TEST_F(Mobility, NobodyElseInTheNetworkIsNobodyToWaitFor) {
  Departures departures("hostA");
  contents.bindings.erase(contents.bindings.find("client1"));
  contents.bindings.erase(contents.bindings.find("client2"));
  place("vm1", "hostB", 4);
  departures.follow(contents, {"vm1"}, now);
  EXPECT_THAT(departures.settled(now), IsEmpty());
  EXPECT_THAT(departures.settled(now + Departures::kLinger), ElementsAre("vm1"));
  // A binding that is nowhere, or gone, is not sent on.
  place("vm1", "", 5);
  departures.follow(contents, {"vm1"}, now);
  EXPECT_EQ(departures.size(), 0u);
}

TEST_F(Mobility, TheHostThatItHasComeToShowsWhatWasSigned) {
  Arrivals arrivals("hostB");
  const Moved moved{"vm1", "hostB", 4};
  arrivals.came(moved, "hostA", "signed", now);
  EXPECT_THAT(arrivals.peers(), IsEmpty());  // whom it concerns is not looked up yet
  arrivals.follow(contents, now);            // the database has not come to it
  EXPECT_THAT(arrivals.peers(), ElementsAre("hostC", "hostD"));
  EXPECT_THAT(arrivals.untold("hostC"), ElementsAre(moved));
  EXPECT_EQ(*arrivals.proof(moved), "signed");
  EXPECT_EQ(arrivals.proof({"vm1", "hostB", 5}), nullptr);
  place("vm1", "hostB", 4);
  arrivals.confirmed("hostC", "vm1", 3);  // of another time
  arrivals.confirmed("hostC", "vm1", 4);
  arrivals.follow(contents, now + 1s);
  EXPECT_THAT(arrivals.untold("hostC"), IsEmpty());
  EXPECT_THAT(arrivals.peers(), ElementsAre("hostD"));
  // It tells for a while, and nothing of what is of the past.
  arrivals.follow(contents, now + Arrivals::kFor);
  EXPECT_THAT(arrivals.peers(), ElementsAre("hostD"));
  arrivals.follow(contents, now + Arrivals::kFor + 1s);
  EXPECT_THAT(arrivals.peers(), IsEmpty());
  arrivals.came(moved, "hostA", "signed", now);
  place("vm1", "hostC", 5);
  arrivals.follow(contents, now);
  EXPECT_THAT(arrivals.peers(), IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
