#include "agent/control/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/uuid/random_generator.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

const Uuid kUuid = *parse_uuid("00112233-4455-6677-8899-aabbccddeeff");

policy::IpAddress ip(const char* text) {
  return boost::asio::ip::make_address(text);
}

/// What comes back after a trip through the columns.
template <class Record>
policy::Result<Record> round_trip(const Record& record) {
  return parse<Record>(Row{record.uuid, columns(record)});
}

template <class Record>
void expect_round_trip(const Record& record) {
  auto parsed = round_trip(record);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, record);
}

TEST(RecordsTest, ADatabaseOfAnOlderSchemaHasNetworksToo) {
  Network network;
  network.uuid = kUuid;
  network.name = "blue";
  network.vni = 7;
  Row row{kUuid, columns(network)};
  row.columns.erase("gateways");
  row.columns.erase("host_access");
  auto parsed = parse<Network>(row);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, network);
  row.columns.erase("vni");
  EXPECT_FALSE(parse<Network>(row));
}

TEST(RecordsTest, SurviveARoundTrip) {
  expect_round_trip(Host{
      .uuid = kUuid,
      .name = "h1",
      .control_endpoints = {*parse_endpoint("192.0.2.1:6641")},
      .lane_endpoints = {*parse_endpoint("[2001:db8::1]:6642"), *parse_endpoint("192.0.2.1:6642")},
      .vteps = {ip("192.0.2.1")},
      .certificate_sha256 = std::string(64, 'a'),
      .version = "0.1.0",
      .capacity = {{"memory_mib", 1024}},
      .relays = true});
  expect_round_trip(HostStatus{.uuid = kUuid,
                               .host = "h1",
                               .started = WallTime(1s),
                               .last_seen = WallTime(2s),
                               .agent_pid = 42,
                               .state = HostState::ready});
  expect_round_trip(
      Network{.uuid = kUuid,
              .name = "blue",
              .vni = policy::kVniMax,
              .subnets = {*Subnet::parse("198.51.100.0/24"), *Subnet::parse("2001:db8::/64")},
              .mtu = 1400,
              .unknown = UnknownDestination::normal,
              .gateways = {boost::asio::ip::make_address("198.51.100.1"),
                           boost::asio::ip::make_address("2001:db8::1")},
              .host_access = true});
  expect_round_trip(Binding{.uuid = kUuid,
                            .name = "vm1/eth0",
                            .application = "vm1",
                            .network = "blue",
                            .mac = *policy::MacAddress::parse("52:54:00:00:00:01"),
                            .prior_addresses = {ip("198.51.100.5"), ip("2001:db8::5")},
                            .current_addresses = {ip("203.0.113.5")},
                            .traffic_class = "gold",
                            .location = "h1",
                            .generation = 7});
  expect_round_trip(Application{.uuid = kUuid,
                                .name = "vm1",
                                .driver = Driver::netdev,
                                .qmp_socket = "/run/vm1.qmp",
                                .launch_profile = "small",
                                .policy = "gold",
                                .properties = {{"device", "tap0"}}});
  expect_round_trip(Policy{.uuid = kUuid,
                           .name = "gold",
                           .downtime_limit = 50ms,
                           .convergence = Convergence::rollback,
                           .copy_timeout = 60s,
                           .compression = Compression::automatic,
                           .bandwidth_share = 50});
  expect_round_trip(PathPolicyRow{.uuid = kUuid,
                                  .traffic_class = policy::TrafficClass::interactive,
                                  .preferred = {{"fiber", 1}, {"radio", 1000}},
                                  .forbidden = {{.label = "backup"}, {.host = "h1"}},
                                  .pinned = {{{.host = "h1", .interface = "eth1"}, {}}},
                                  .ports = {{6, 22, 22}, {17, 5000, 5999}},
                                  .cost_ceiling = 2 * kMostCost,
                                  .most_rtt = 1500us,
                                  .most_loss_ppm = 0,
                                  .least_bandwidth_mbps = kMostBandwidthMbps,
                                  .least_mtu = 1500,
                                  .relays = true,
                                  .detection = Detection::fast});
  expect_round_trip(PathPolicyRow{.uuid = kUuid});
  expect_round_trip(Task{.uuid = kUuid,
                         .kind = TaskKind::move,
                         .application = "vm1",
                         .arguments = {{"destination", "h2"}},
                         .priority = -5,
                         .requested_by = "ops",
                         .requested_at = WallTime(3s),
                         .cancel = true,
                         .resolution = Resolution::destination});
  expect_round_trip(TaskStatus{.uuid = kUuid,
                               .task = kUuid,
                               .host = "h1",
                               .kind = TaskKind::move,
                               .application = "vm1",
                               .state = TaskState::rolled_back,
                               .phase = "copying",
                               .error = "why",
                               .started = WallTime(4s),
                               .finished = WallTime(5s),
                               .source = "h1",
                               .destination = "h2",
                               .bytes_sent = 1,
                               .bytes_total = 2,
                               .ram_bytes = 3,
                               .rounds = 4,
                               .bytes_per_second = 5,
                               .eta = 6ms,
                               .total = 7ms,
                               .downtime = 8ms,
                               .figures = {{"zero_pages", 9}},
                               .lanes = {{"192.0.2.1", "192.0.2.2:6711", LaneState::open, 10, 11},
                                         {"", "[2001:db8::2]:6711", LaneState::given_up, 12, 0}}});
}

TEST(RecordsTest, TakeALaneForWhatItsNameSays) {
  TaskStatus status;
  status.task = kUuid;
  status.host = "h1";
  status.application = "vm1";
  status.lanes = {{"a", "b"}};
  auto written = columns(status);
  const auto with = [&](const char* column, json::value value) {
    auto changed = written;
    changed[column] = std::move(value);
    return parse<TaskStatus>(Row{kUuid, changed});
  };
  const auto map = [](const char* name, json::value value) {
    return json::array{"map", json::array{json::array{name, std::move(value)}}};
  };
  auto without_figures = with("lane_bytes_sent", map("c > d", 7));
  ASSERT_TRUE(without_figures);
  EXPECT_EQ(without_figures->lanes, (std::vector<TaskLane>{{"a", "b"}}));
  EXPECT_FALSE(with("lane_states", map("a - b", "open")));
  EXPECT_FALSE(with("lane_states", map("a > b", "shut")));
  EXPECT_FALSE(with("lane_bytes_sent", map("a > b", "many")));
  EXPECT_EQ(with("lane_bytes_sent", map("a > b", -1))->lanes.front().bytes_sent, 0);
  for (const char* column : {"lane_states", "lane_bytes_sent", "lane_bytes_per_second"}) {
    written.erase(column);
  }
  auto of_old_schema = parse<TaskStatus>(Row{kUuid, written});
  ASSERT_TRUE(of_old_schema) << of_old_schema.error().message;
  EXPECT_FALSE(columns(*of_old_schema).contains("lane_states")) << "it would be refused";
}

TEST(RecordsTest, LeaveTheControllersSayOutOfAnInterface) {
  Interface record{.uuid = kUuid,
                   .host = "h1",
                   .name = "eth0",
                   .address = ip("192.0.2.1"),
                   .speed_mbps = 1000,
                   .mtu = 1500,
                   .state = LinkState::up,
                   .label = {},
                   .allowed = {}};
  auto written = columns(record);
  EXPECT_FALSE(written.contains("cost"));
  json::array none{"set", json::array{}};
  for (auto* column : {"cost", "label", "allowed", "bulk_limit_mbps"}) written[column] = none;
  auto parsed = parse<Interface>(Row{kUuid, written});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, record);
  written["allowed"] = false;
  written["cost"] = 3;
  written["bulk_limit_mbps"] = 500;
  written["label"] = "fast";
  parsed = parse<Interface>(Row{kUuid, written});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->allowed, false);
  EXPECT_EQ(parsed->cost, 3);
  EXPECT_EQ(parsed->bulk_limit_mbps, 500);
  EXPECT_EQ(parsed->label, "fast");
  EXPECT_EQ(parsed->problem, "");
}

TEST(RecordsTest, KeepAnInterfaceOfWhichTheControllerSaysSomethingWrong) {
  Interface record{.uuid = kUuid,
                   .host = "h1",
                   .name = "eth0",
                   .address = ip("192.0.2.1"),
                   .speed_mbps = 1000,
                   .mtu = 1500,
                   .state = LinkState::up,
                   .label = {}};
  Row row{kUuid, columns(record)};
  row.columns["cost"] = 7;
  row.columns["label"] = "two words";
  row.columns["allowed"] = false;
  row.columns["bulk_limit_mbps"] = 5;
  auto parsed = parse<Interface>(row);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->label, "");
  EXPECT_EQ(parsed->cost, 7);
  EXPECT_EQ(parsed->allowed, false);
  EXPECT_THAT(parsed->problem,
              HasSubstr("column label: \"two words\" is not a label: 1 to 63 bytes "
                        "without a space; it is left out until that is mended"));
  EXPECT_EQ(parsed->bulk_limit_mbps, 5);
  row.columns["bulk_limit_mbps"] = kMostBulkLimit + 1;
  row.columns["label"] = "one";
  parsed = parse<Interface>(row);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->bulk_limit_mbps, 0);
  EXPECT_THAT(parsed->problem,
              HasSubstr("column bulk_limit_mbps: 1000001 is not between 1 and 1000000"));
  row.columns["cost"] = kMostCost + 1;
  parsed = parse<Interface>(row);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->cost, 0);
  EXPECT_THAT(parsed->problem, HasSubstr("column cost: 65536 is not between 0 and 65535"));
  row.columns["mtu"] = -1;
  EXPECT_FALSE(parse<Interface>(row));
}

struct BadCell {
  const char* column;
  json::value value;
};

/// A row in which everything is good but for that column.
PathPolicyRow with(const char* column, json::value value) {
  Row row{kUuid, columns(PathPolicyRow{.uuid = kUuid,
                                       .traffic_class = policy::TrafficClass::bulk,
                                       .preferred = {{"fiber", 10}},
                                       .least_mtu = 1400,
                                       .relays = false})};
  row.columns[column] = std::move(value);
  auto parsed = parse<PathPolicyRow>(row);
  EXPECT_TRUE(parsed) << column;
  return parsed ? *parsed : PathPolicyRow{};
}

TEST(RecordsTest, LeaveOutOfAPathPolicyOnlyWhatIsWrong) {
  const std::vector<BadCell> cells = {
      {"preferred", json::array{"map", json::array{json::array{"fiber", 1001}}}},
      {"preferred", json::array{"map", json::array{json::array{"two words", 1}}}},
      {"preferred", json::array{"map", json::array{json::array{"fiber", "much"}}}},
      {"forbidden", "eth0"},
      {"forbidden", 7},
      {"pinned", "h1/eth0"},
      {"ports", "tcp"},
      {"ports", "tcp:65536"},
      {"ports", 22},
      {"cost_ceiling", 131071},
      {"most_rtt_us", -1},
      {"most_loss_ppm", 1'000'001},
      {"least_bandwidth_mbps", 0},
      {"least_mtu", 65536},
      {"relays", "no"},
      {"detection", "soon"},
  };
  for (const auto& cell : cells) {
    const PathPolicyRow parsed = with(cell.column, cell.value);
    EXPECT_THAT(parsed.problem, AllOf(HasSubstr("table Path_Policy"), HasSubstr(to_string(kUuid)),
                                      HasSubstr(std::string("column ") + cell.column),
                                      HasSubstr("it is left out until that is mended")));
    PathPolicyRow rest{.uuid = kUuid,
                       .traffic_class = policy::TrafficClass::bulk,
                       .preferred = {{"fiber", 10}},
                       .least_mtu = 1400,
                       .relays = false};
    const std::string column = cell.column;
    if (column == "preferred") rest.preferred.clear();
    if (column == "least_mtu") rest.least_mtu.reset();
    if (column == "relays") rest.relays.reset();
    rest.problem = parsed.problem;
    EXPECT_EQ(parsed, rest) << column;
  }
}

TEST(RecordsTest, KeepTheGoodEndsBesideAWrongOne) {
  const PathPolicyRow parsed =
      with("forbidden", json::array{"set", json::array{"h2/eth1", "h 1/eth0", "*/label:backup"}});
  EXPECT_THAT(parsed.forbidden,
              testing::ElementsAre(policy::EndMatch{.label = "backup"},
                                   policy::EndMatch{.host = "h2", .interface = "eth1"}));
  EXPECT_THAT(parsed.problem,
              HasSubstr("not good: \"h 1/eth0\" is no end of a path: before the slash stands"));
}

TEST(RecordsTest, KeepTheGoodPortsBesideAWrongOne) {
  const PathPolicyRow parsed =
      with("ports", json::array{"set", json::array{"udp:5000-5999", "tcp:9-8", "tcp:22"}});
  EXPECT_THAT(parsed.ports, testing::ElementsAre(policy::PortRange{6, 22, 22},
                                                 policy::PortRange{17, 5000, 5999}));
  EXPECT_THAT(parsed.problem, HasSubstr("not good: \"tcp:9-8\" names no ports: write tcp:PORT"));
}

TEST(RecordsTest, LeaveOutAPathPolicyOfNoClass) {
  Row row{kUuid, columns(PathPolicyRow{.uuid = kUuid})};
  row.columns["traffic_class"] = "gold";
  EXPECT_THAT(parse<PathPolicyRow>(row).error().message,
              AllOf(HasSubstr("column traffic_class"), HasSubstr("the row is left out")));
}

TEST(RecordsTest, ReadASetOfOneAsTheAtom) {
  auto row = Row{kUuid, columns(Host{.uuid = kUuid,
                                     .name = "h1",
                                     .control_endpoints = {},
                                     .lane_endpoints = {},
                                     .vteps = {},
                                     .certificate_sha256 = {},
                                     .version = {},
                                     .capacity = {}})};
  row.columns["vteps"] = "192.0.2.9";
  row.columns.erase("relays");  // of a database of schema 1.0
  auto host = parse<Host>(row);
  ASSERT_TRUE(host) << host.error().message;
  EXPECT_THAT(host->vteps, testing::ElementsAre(ip("192.0.2.9")));
  EXPECT_FALSE(host->relays);
}

TEST(RecordsTest, NameTableRowAndColumnOfABadCell) {
  Binding good{.uuid = kUuid,
               .name = "vm1",
               .application = "vm1",
               .network = "blue",
               .mac = *policy::MacAddress::parse("52:54:00:00:00:01"),
               .prior_addresses = {},
               .current_addresses = {},
               .traffic_class = {},
               .location = {}};
  const std::vector<BadCell> cells = {
      {"name", ""},
      {"name", 7},
      {"mac", "52:54:00:00:00"},
      {"mac", "01:00:5e:00:00:01"},
      {"mac", "00:00:00:00:00:00"},
      {"prior_addresses", "198.51.100.500"},
      {"prior_addresses", json::array{"set", json::array{"198.51.100.1", 7}}},
      {"prior_addresses", json::array{"map", json::array{}}},
      {"location", json::array{"set", json::array{}}},
      {"prior_addresses", "fe80::1%eth0"},
      {"generation", -1},
      {"generation", std::int64_t{1} << 62 | 1},
      {"generation", "7"},
  };
  for (const auto& cell : cells) {
    Row row{kUuid, columns(good)};
    row.columns[cell.column] = cell.value;
    auto parsed = parse<Binding>(row);
    ASSERT_FALSE(parsed) << cell.column;
    EXPECT_THAT(parsed.error().message,
                AllOf(HasSubstr("table Binding"), HasSubstr(to_string(kUuid)),
                      HasSubstr(std::string("column ") + cell.column)));
  }
  Row row{kUuid, columns(good)};
  row.columns.erase("network");
  EXPECT_THAT(parse<Binding>(row).error().message, HasSubstr("column network"));
}

TEST(RecordsTest, RefuseWhatTheSchemaCannotExpress) {
  auto refuses = [](auto record) { return !round_trip(record); };
  Host host{.uuid = kUuid,
            .name = "h1",
            .control_endpoints = {},
            .lane_endpoints = {},
            .vteps = {},
            .certificate_sha256 = "abc",
            .version = {},
            .capacity = {}};
  EXPECT_TRUE(refuses(host));
  host.certificate_sha256 = std::string(64, 'G');
  EXPECT_TRUE(refuses(host));
  Application application{.uuid = kUuid,
                          .name = "vm1",
                          .qmp_socket = "relative/path",
                          .launch_profile = {},
                          .policy = {},
                          .properties = {}};
  EXPECT_TRUE(refuses(application));
  application.qmp_socket.clear();
  for (auto* profile : {"../../etc/shadow", ".hidden", "a/b"}) {
    application.launch_profile = profile;
    EXPECT_TRUE(refuses(application)) << profile;
  }
  Network network;
  network.uuid = kUuid;
  network.name = "blue";
  network.vni = policy::kVniMax + 1;
  EXPECT_TRUE(refuses(network));
  network.vni = 100;
  network.mtu = std::int64_t{1} << 32;
  EXPECT_TRUE(refuses(network));
  // Beyond what a clock in nanoseconds can say.
  HostStatus status;
  status.host = "h1";
  EXPECT_FALSE(refuses(status));
  status.last_seen = WallTime(std::chrono::milliseconds::max());
  EXPECT_TRUE(refuses(status));
  Policy policy;
  policy.name = "p1";
  policy.copy_timeout = std::chrono::seconds::max();
  EXPECT_TRUE(refuses(policy));
  Task task;
  task.application = "vm1";
  task.priority = 101;
  EXPECT_TRUE(refuses(task));
}

TEST(RecordsTest, ParseSubnetsStrictly) {
  EXPECT_EQ(Subnet::parse("198.51.100.0/24")->to_string(), "198.51.100.0/24");
  EXPECT_TRUE(Subnet::parse("198.51.100.0/24")->contains(ip("198.51.100.255")));
  EXPECT_FALSE(Subnet::parse("198.51.100.0/24")->contains(ip("198.51.101.0")));
  EXPECT_FALSE(Subnet::parse("198.51.100.0/24")->contains(ip("2001:db8::1")));
  EXPECT_TRUE(Subnet::parse("2001:db8::/32")->contains(ip("2001:db8:1::1")));
  EXPECT_TRUE(Subnet::parse("0.0.0.0/0")->contains(ip("203.0.113.1")));
  for (auto* text : {"198.51.100.1/24", "198.51.100.0/33", "198.51.100.0", "198.51.100.0/", "/24",
                     "198.51.100.0/-1", "2001:db8::/129", "blue/24"}) {
    EXPECT_FALSE(Subnet::parse(text)) << text;
  }
}

TEST(RecordsTest, ParseUuidsStrictly) {
  EXPECT_EQ(to_string(*parse_uuid(to_string(kUuid))), to_string(kUuid));
  for (auto* text :
       {"", "00112233-4455-6677-8899-aabbccddeef", "00112233x4455-6677-8899-aabbccddeeff",
        "0011223g-4455-6677-8899-aabbccddeeff", "{0112233-4455-6677-8899-aabbccddeeff"}) {
    EXPECT_FALSE(parse_uuid(text)) << text;
  }
}

}  // namespace
}  // namespace homeport::agent
