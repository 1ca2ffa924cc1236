#include "agent/control/read_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include <string>
#include <vector>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using overlay::ovsdb::Answers;
using overlay::ovsdb::ReadRequest;
using overlay::ovsdb::RowChange;
using testing::ElementsAre;
using testing::IsEmpty;

class ReadRowsTest : public testing::Test {
 protected:
  static Uuid id(std::uint8_t number) {
    Uuid uuid{};
    uuid.data[15] = number;
    return uuid;
  }
  static Row application(std::uint8_t number, const std::string& name,
                         const std::string& profile = "small") {
    Application record;
    record.name = name;
    record.launch_profile = profile;
    return {id(number), columns(record)};
  }
  static Row binding(std::uint8_t number, const std::string& name, const std::string& application,
                     policy::Generation generation) {
    Binding record;
    record.name = name;
    record.application = application;
    record.network = "blue";
    record.mac = *policy::MacAddress::parse("52:54:00:00:00:01");
    record.generation = generation;
    return {id(number), columns(record)};
  }
  void monitor(const std::string& table, const Row& row) {
    const RowChange change{table, row.uuid, row};
    rows.monitored(change);
    tables.apply(change);
  }
  /// What is asked, as "TABLE column value".
  std::vector<std::string> asked() {
    std::vector<std::string> texts;
    const auto request = rows.next(now);
    if (!request) return texts;
    for (const auto& query : request->queries) {
      const auto& clause = query.where.at(0);
      const auto& value = clause.column == "_uuid" ? clause.value.as_array().at(1) : clause.value;
      texts.push_back(query.table + " " + clause.column + " " + std::string(value.as_string()));
    }
    known = request->known.size();
    return texts;
  }
  bool answer(Answers answers) {
    return rows.take(std::move(answers), now, [&](const auto& it) { problems.push_back(it); });
  }
  void fail(boost::system::errc::errc_t code) {
    rows.take(policy::make_error(code, "no"), now, [](const auto&) {});
  }
  const Application* find(const std::string& name) const {
    auto found = tables.contents().applications.find(name);
    return found == tables.contents().applications.end() ? nullptr : &found->second;
  }
  static std::string by_uuid(const std::string& table, std::uint8_t number) {
    return table + " _uuid " + to_string(id(number));
  }

  Tables tables;
  ReadRows rows{tables};
  ReadRows::Clock::time_point now{};
  std::size_t known = 0;
  std::vector<policy::Error> problems;
};

TEST_F(ReadRowsTest, RowIsSearchedForOnceThenReadAgainByItsUuid) {
  EXPECT_TRUE(rows.settled());
  EXPECT_THAT(asked(), IsEmpty());
  rows.want({{"vm1", {.row = true}}});
  EXPECT_FALSE(rows.settled());
  EXPECT_THAT(asked(), ElementsAre("Application name vm1"));
  EXPECT_THAT(asked(), IsEmpty()) << "one request at a time";
  EXPECT_TRUE(answer({{application(1, "vm1")}}));
  EXPECT_TRUE(rows.settled());
  ASSERT_NE(find("vm1"), nullptr);
  EXPECT_EQ(rows.due(), now + kReadAgain);
  EXPECT_THAT(asked(), IsEmpty());
  now += kReadAgain;
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Application", 1)));
  EXPECT_FALSE(answer({{application(1, "vm1")}})) << "it is as it was";
  now += kReadAgain;
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Application", 1)));
  EXPECT_TRUE(answer({{application(1, "vm1", "large")}}));
  EXPECT_EQ(find("vm1")->launch_profile, "large");
}

TEST_F(ReadRowsTest, IsLookedForWhereItIsSaidToBe) {
  rows.want({{"vm1", {.row = true, .bindings = true, .at = {id(1), {id(2), id(3)}}}}});
  EXPECT_THAT(asked(),
              ElementsAre(by_uuid("Application", 1), by_uuid("Binding", 2), by_uuid("Binding", 3)));
  answer({{application(1, "vm1")}, {binding(2, "vm1", "vm1", 4)}, {binding(3, "vm1/b", "vm1", 4)}});
  EXPECT_TRUE(rows.settled());
  EXPECT_NE(find("vm1"), nullptr);
  EXPECT_EQ(tables.contents().bindings_of("vm1").size(), 2u);
  EXPECT_EQ(rows.due(), now + kReadAgain);
}

TEST_F(ReadRowsTest, WhatIsNotWhereItIsSaidToBeIsSearchedFor) {
  const Reading wrong{.row = true, .at = {id(1), {}}};
  rows.want({{"vm1", wrong}});
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Application", 1)));
  EXPECT_FALSE(answer({{application(1, "vm9")}})) << "another's row";
  EXPECT_EQ(find("vm9"), nullptr);
  EXPECT_FALSE(rows.settled());
  EXPECT_THAT(asked(), ElementsAre("Application name vm1"));
  answer({{application(4, "vm1")}});
  EXPECT_TRUE(rows.settled());
  ASSERT_NE(find("vm1"), nullptr);
  EXPECT_EQ(find("vm1")->uuid, id(4));
}

TEST_F(ReadRowsTest, BindingThatIsNotWhereItIsSaidToBeIsSearchedFor) {
  monitor("Application", application(1, "vm1"));
  rows.want({{"vm1", {.bindings = true, .at = {id(1), {id(2), id(3)}}}}});
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Binding", 2), by_uuid("Binding", 3)));
  answer({{binding(2, "vm1", "vm1", 4)}, {}});
  EXPECT_FALSE(rows.settled());
  EXPECT_THAT(asked(), ElementsAre("Binding application vm1"));
  answer({{binding(2, "vm1", "vm1", 4)}});
  EXPECT_TRUE(rows.settled());
}

/// By a host that has no say in it, for example.
TEST_F(ReadRowsTest, WhatIsToldOtherwiseIsLookedAtAnew) {
  monitor("Application", application(1, "vm1"));
  rows.want({{"vm1", {.bindings = true, .at = {id(1), {id(2)}}}}});
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Binding", 2)));
  answer({{binding(2, "vm1", "vm1", 4)}});
  EXPECT_TRUE(rows.settled());
  rows.want({{"vm1", {.bindings = true, .at = {id(1), {id(2), id(3)}}}}});
  EXPECT_FALSE(rows.settled());
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Binding", 2), by_uuid("Binding", 3)));
  answer({{binding(2, "vm1", "vm1", 4)}, {binding(3, "vm1/b", "vm1", 4)}});
  EXPECT_TRUE(rows.settled());
  EXPECT_EQ(tables.contents().bindings_of("vm1").size(), 2u);
  rows.want({{"vm1", {.bindings = true}}});
  EXPECT_TRUE(rows.settled()) << "nothing is told any more";
}

TEST_F(ReadRowsTest, RowThatIsGoneGoesAndAnotherOfItsNameIsLookedFor) {
  rows.want({{"vm1", {.row = true}}});
  asked();
  answer({{application(1, "vm1")}});
  now += kReadAgain;
  asked();
  EXPECT_TRUE(answer({{}}));
  EXPECT_EQ(find("vm1"), nullptr);
  EXPECT_TRUE(rows.settled()) << "it is known that there is none";
  EXPECT_EQ(rows.due(), now + kLookAgain);
  now += kLookAgain;
  EXPECT_THAT(asked(), ElementsAre("Application name vm1"));
  answer({{}});
  EXPECT_EQ(rows.due(), now + 2 * kLookAgain) << "less and less often";
  now += 2 * kLookAgain;
  asked();
  EXPECT_TRUE(answer({{application(2, "vm1")}}));
  ASSERT_NE(find("vm1"), nullptr);
  EXPECT_EQ(find("vm1")->uuid, id(2));
}

TEST_F(ReadRowsTest, RowThatWasRenamedIsNotTheOneThatWasWanted) {
  rows.want({{"vm1", {.row = true}}});
  asked();
  answer({{application(1, "vm1")}});
  now += kReadAgain;
  asked();
  EXPECT_TRUE(answer({{application(1, "vm9")}}));
  EXPECT_EQ(find("vm1"), nullptr);
  EXPECT_EQ(find("vm9"), nullptr);
}

TEST_F(ReadRowsTest, WhatIsNotWantedAnyMoreGoes) {
  rows.want({{"vm1", {.row = true}}, {"vm2", {.row = true}}});
  asked();
  answer({{application(1, "vm1")}, {application(2, "vm2")}});
  EXPECT_TRUE(rows.want({{"vm2", {.row = true}}}));
  EXPECT_EQ(find("vm1"), nullptr);
  EXPECT_NE(find("vm2"), nullptr);
  EXPECT_FALSE(rows.want({{"vm2", {.row = true}}}));
}

TEST_F(ReadRowsTest, MonitoredRowIsTheConditionsFromThenOn) {
  rows.want({{"vm1", {.row = true}}});
  asked();
  answer({{application(1, "vm1")}});
  now += kReadAgain;
  asked();
  monitor("Application", application(1, "vm1", "newer"));
  EXPECT_FALSE(answer({{application(1, "vm1", "older")}})) << "an answer that was on its way";
  EXPECT_EQ(find("vm1")->launch_profile, "newer");
  EXPECT_EQ(rows.due(), ReadRows::Clock::time_point::max());
  EXPECT_FALSE(rows.want({}));
  EXPECT_NE(find("vm1"), nullptr) << "it is not for the readings to take it away";
}

TEST_F(ReadRowsTest, RowThatIsMonitoredNeedsNoReading) {
  monitor("Application", application(1, "vm1"));
  rows.want({{"vm1", {.row = true}}});
  EXPECT_THAT(asked(), IsEmpty());
  EXPECT_TRUE(rows.settled());
  const RowChange gone{"Application", id(1), {}};
  rows.monitored(gone);
  tables.apply(gone);
  rows.want({{"vm1", {.row = true}}});
  EXPECT_THAT(asked(), ElementsAre("Application name vm1")) << "until it is not monitored any more";
}

TEST_F(ReadRowsTest, TaskMakesItBeReadOnceMore) {
  rows.want({{"vm1", {.row = true, .bindings = true}}});
  EXPECT_THAT(asked(), ElementsAre("Application name vm1", "Binding application vm1"));
  answer({{application(1, "vm1")}, {binding(2, "vm1", "vm1", 4), binding(3, "vm1/b", "vm1", 4)}});
  EXPECT_EQ(tables.contents().bindings_of("vm1").size(), 2u);
  rows.want({{"vm1", {.row = true, .bindings = true, .tasks = {id(7)}}}});
  EXPECT_FALSE(rows.settled());
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Application", 1), "Binding application vm1"));
  EXPECT_EQ(known, 2u) << "by a server that knows as much of its bindings as this host";
  answer({{application(1, "vm1")}, {binding(2, "vm1", "vm1", 4)}});
  EXPECT_TRUE(rows.settled());
  EXPECT_EQ(tables.contents().bindings_of("vm1").size(), 1u);
  rows.want({{"vm1", {.row = true, .bindings = true}}});
  EXPECT_TRUE(rows.settled()) << "when the task has ended there is nothing new to read";
}

TEST_F(ReadRowsTest, BindingDoesNotGoBack) {
  monitor("Binding", binding(2, "vm1", "vm1", 5));
  rows.want({{"vm1", {.bindings = true}}});
  EXPECT_THAT(asked(), ElementsAre("Binding application vm1"));
  EXPECT_FALSE(answer({{binding(2, "vm1", "vm1", 4)}}));
  EXPECT_EQ(tables.contents().bindings.at("vm1").generation, 5u);
}

TEST_F(ReadRowsTest, ServerThatIsBehindIsAskedAgain) {
  rows.want({{"vm1", {.row = true}}});
  asked();
  fail(boost::system::errc::resource_unavailable_try_again);
  EXPECT_FALSE(rows.settled());
  EXPECT_THAT(asked(), IsEmpty());
  EXPECT_GT(rows.due(), now);
  now = rows.due();
  EXPECT_THAT(asked(), ElementsAre("Application name vm1"));
}

TEST_F(ReadRowsTest, RowThatDoesNotParseIsAProblemUntilItDoes) {
  rows.want({{"vm1", {.row = true}}});
  asked();
  Row bad = application(1, "vm1");
  bad.columns["driver"] = "steam";
  EXPECT_TRUE(answer({{bad}}));
  EXPECT_EQ(problems.size(), 1u);
  EXPECT_EQ(tables.contents().problems.size(), 1u);
  now = rows.due();
  EXPECT_THAT(asked(), ElementsAre(by_uuid("Application", 1)));
  EXPECT_TRUE(answer({{application(1, "vm1")}}));
  EXPECT_NE(find("vm1"), nullptr);
  EXPECT_TRUE(tables.contents().problems.empty());
}

TEST_F(ReadRowsTest, SearchesAreAFewAtATime) {
  Readings wanted;
  for (char name = 'a'; name < 'a' + 10; ++name) wanted[std::string(1, name)] = {.row = true};
  rows.want(wanted);
  std::size_t requests = 0;
  while (!rows.settled()) {
    const auto queries = asked();
    ASSERT_LE(queries.size(), kSearchesAtOnce);
    answer(Answers(queries.size()));
    ASSERT_LT(++requests, 10u);
  }
  EXPECT_EQ(requests, 3u);
}

}  // namespace
}  // namespace homeport::agent
