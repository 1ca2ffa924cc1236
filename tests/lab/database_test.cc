// The control database is a cluster, one host reaches it through a relay, and servers die while
// guests move and a client writes as fast as it can.
#include "overlay/ovsdb/session.h"
#include "tests/lab/lab.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <atomic>
#include <set>
#include <thread>

namespace homeport::lab {
namespace {

namespace asio = boost::asio;
namespace ovsdb = overlay::ovsdb;

/// A client that inserts one row after another, each until it is in.
class Writer {
 public:
  explicit Writer(const std::string& remotes)
      : session_(context_.get_executor(),
                 {.remotes = remotes, .tls = {}, .conditions = {}, .tables = {"Storage"}}) {
    session_.start();
    asio::co_spawn(context_, write(), asio::detached);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Writer() { finish(); }

  std::size_t acknowledged() const { return count_; }
  void wait_progress(std::size_t rows) {
    const std::size_t before = count_;
    wait_until([&] { return count_ >= before + rows; }, 60s, "the database to take writes",
               [&] {
                 return fmt::format("{} of {} taken; it waits for {}", count_ - before, rows,
                                    doing_.load());
               });
  }
  /// Stops, and returns the rows that the database has said are in.
  std::set<std::string> finish() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    return acknowledged_;
  }

 private:
  asio::awaitable<void> write() {
    while (true) {
      const auto uuid = boost::uuids::random_generator()();
      ovsdb::Outcome outcome = ovsdb::Outcome::unknown;
      while (outcome != ovsdb::Outcome::committed) {
        doing_ = "the database";
        if (!co_await session_.wait_synced(20s)) continue;
        doing_ = "the answer to a transaction";
        ovsdb::Transaction insert;
        insert.inserts.push_back({"Storage", {{"name", to_string(uuid)}, {"kind", "nfs"}}, uuid});
        auto result = co_await session_.transact(std::move(insert));
        outcome = result ? result->outcome : ovsdb::Outcome::unknown;
        // It was in already: the answer was lost. The row may have come here meanwhile or not.
        if (outcome == ovsdb::Outcome::failed || outcome == ovsdb::Outcome::refused) {
          outcome = ovsdb::Outcome::committed;
        }
      }
      acknowledged_.insert(to_string(uuid));
      count_ = acknowledged_.size();
    }
  }

  asio::io_context context_{1};
  ovsdb::Session session_;
  std::set<std::string> acknowledged_;
  std::atomic<std::size_t> count_ = 0;
  std::atomic<const char*> doing_ = "";
  std::thread thread_;
};

class Cluster : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    lab_ = std::make_unique<Lab>("cluster", 3);
    relay_ = &lab_->add_relay();
    const LinkOptions slow{.rate_mbit = 300, .mtu = 1500};  // for a copy to last
    lab_->add_host("hostA", {.underlay = slow});
    lab_->add_host("hostB", {.underlay = slow, .database = relay_->remote()});
    Host& c = lab_->add_host("hostC");
    lab_->add_network();
    lab_->start_agents();
    lab_->add_client(c);
    lab_->add_guest({}, lab_->host("hostA"));
  }
  static void TearDownTestSuite() { lab_.reset(); }

  static Host& here() { return lab_->host(lab_->location("vm1")); }
  static Host& there() { return lab_->host(here().name() == "hostA" ? "hostB" : "hostA"); }

  /// A move, with `harm` done while it copies.
  void move_through(const std::function<void()>& harm) {
    Host& to = there();
    // What starts anew is told of its hosts one by one, and a move to one that is silent is
    // refused.
    wait_until([&] { return to.get("/metrics").find("homeport_ready 1") != std::string::npos; },
               20s, to.name() + " to be ready");
    Process move(lab_->homeport_command("move vm1 --to " + to.name() + " --wait"),
                 {.log = lab_->directory() / "move.log"});
    wait_until(
        [&] { return lab_->homeport_checked("task list").find("copying") != std::string::npos; },
        20s, "the move to copy", [&] { return move.log_tail(); });
    harm();
    EXPECT_EQ(move.wait(60s), 0) << move.log_tail();
    EXPECT_EQ(lab_->location("vm1"), to.name());
    EXPECT_GT(to.guest_pid("vm1"), 0);
  }

  /// Whether the agent has a complete and current copy from a server that is not at `address`.
  static bool served_by_another(const Host& host, const std::string& address) {
    const std::string connections = run_checked(
        {"ss", "-Htn", "state", "established", "dport", "=", ":6650"}, {.inside = &host.inside()});
    return !connections.empty() && connections.find(address + ":6650") == std::string::npos &&
           host.get("/metrics").find("homeport_database_synchronized 1") != std::string::npos;
  }

  static std::set<std::string> storages() {
    const auto reply = boost::json::parse(run_checked(
        {"ovsdb-client", "--no-headings", "query", lab_->database().local_remote(),
         R"(["Homeport",{"op":"select","table":"Storage","where":[],"columns":["name"]}])"}));
    std::set<std::string> names;
    for (const auto& row : reply.at(0).at("rows").as_array()) {
      names.emplace(row.at("name").as_string());
    }
    return names;
  }

  static std::unique_ptr<Lab> lab_;
  static Relay* relay_;
};

std::unique_ptr<Lab> Cluster::lab_;
Relay* Cluster::relay_ = nullptr;

TEST_F(Cluster, LosesNothingWhenItsLeaderIsKilledUnderLoad) {
  StreamClient stream(lab_->client(), "10.1.0.5", lab_->directory() / "leader-stream.log");
  Writer writer(lab_->database().local_remote());
  writer.wait_progress(100);
  for (int round = 0; round < 2; ++round) {
    DatabaseServer& leader = lab_->database().leader();
    move_through([&] {
      leader.stop();
      for (Host* host : lab_->hosts()) {
        wait_until([&] { return served_by_another(*host, leader.address()); }, 30s,
                   host->name() + " to be served by another server",
                   [&] { return host->agent().log_tail(); });
      }
      writer.wait_progress(100);
    });
    leader.start();
  }
  stream.wait_progress(64 * 1024, 20s);
  const StreamReport checked = stream.finish();
  EXPECT_TRUE(checked.survived) << checked.error;
  EXPECT_EQ(checked.mismatches, 0u);
  const auto acknowledged = writer.finish();
  const auto there = storages();
  RecordProperty("acknowledged_writes", static_cast<int>(acknowledged.size()));
  EXPECT_GT(acknowledged.size(), 300u);
  for (const auto& name : acknowledged) EXPECT_TRUE(there.contains(name)) << name << " was lost";
}

TEST_F(Cluster, MovesGoOnWhenARelayIsKilled) {
  for (int round = 0; round < 2; ++round) {
    move_through([&] {
      relay_->kill();
      relay_->start();
    });
  }
}

}  // namespace
}  // namespace homeport::lab
