#include "tests/lab/database.h"

#include <csignal>

#include <set>
#include <sstream>
#include <utility>

#include "tests/lab/cleanup.h"
#include "tests/lab/programs.h"

namespace homeport::lab {
namespace {

constexpr const char* kPort = "6650";
constexpr const char* kClusterPort = "6651";
constexpr const char* kRelayAddress = "192.168.77.9";

std::string address_of(unsigned server) {
  return "192.168.77." + std::to_string(server + 1);
}

}  // namespace

DatabaseServer::DatabaseServer(Place place) : place_(std::move(place)) {
  std::filesystem::create_directories(place_.directory);
  start();
}

DatabaseServer::~DatabaseServer() {
  try {
    stop();
  } catch (const std::exception& error) {
    fprintf(stderr, "lab: stopping a control database: %s\n", error.what());
  }
}

std::string DatabaseServer::remote() const {
  return "ssl:" + place_.address + ":" + kPort;
}

std::string DatabaseServer::local_remote() const {
  return "unix:" + (place_.directory / "homeport.sock").string();
}

void DatabaseServer::start() {
  // What the servers of a cluster listen at is one setting for all of them.
  const std::string listen = place_.cluster.empty() ? place_.address : "0.0.0.0";
  Command command{homeport_program(),
                  "db",
                  "init",
                  "--dir",
                  place_.directory.string(),
                  "--listen",
                  listen + ":" + kPort,
                  "--pki",
                  place_.pki.string()};
  for (std::string& word : words(place_.cluster)) command.push_back(std::move(word));
  run_checked(command, {.inside = &place_.inside});
}

pid_t DatabaseServer::process() const {
  const auto text = read_text(place_.directory / "ovsdb-server.pid");
  return text.empty() ? 0 : std::stoi(text);
}

void DatabaseServer::pause() {
  if (process() > 0) ::kill(process(), SIGSTOP);
}

void DatabaseServer::go_on() {
  if (process() > 0) ::kill(process(), SIGCONT);
}

void DatabaseServer::stop() {
  const pid_t server = process();
  if (server == 0) return;
  ::kill(server, SIGKILL);
  // It is nobody's child: gone when /proc says so, or a zombie that init has yet to collect.
  const std::string stat = "/proc/" + std::to_string(server) + "/stat";
  wait_until(
      [&] {
        const auto line = read_text(stat);
        return line.empty() || line.find(") Z ") != std::string::npos;
      },
      10s, "the end of ovsdb-server");
  std::filesystem::remove(place_.directory / "ovsdb-server.pid");
}

std::string DatabaseServer::cluster_status() const {
  return run_command({"ovs-appctl", "-t", (place_.directory / "ovsdb-server.ctl").string(),
                      "cluster/status", "Homeport"})
      .out;
}

bool DatabaseServer::leads() const {
  return cluster_status().find("Role: leader") != std::string::npos;
}

std::string DatabaseServer::term() const {
  const std::string status = cluster_status();
  const auto at = status.find("Term: ");
  return at == std::string::npos ? "" : status.substr(at, status.find('\n', at) - at);
}

void DatabaseServer::listen(const std::string& target) {
  run_checked({"ovs-appctl", "-t", (place_.directory / "ovsdb-server.ctl").string(),
               "ovsdb-server/add-remote", target});
}

void DatabaseServer::note_requests() {
  run_checked({"ovs-appctl", "-t", (place_.directory / "ovsdb-server.ctl").string(), "vlog/set",
               "jsonrpc:file:dbg"});
}

std::string DatabaseServer::requests() const {
  std::istringstream log(read_text(place_.directory / "ovsdb-server.log"));
  std::string requests, line;
  while (std::getline(log, line)) {
    if (line.find(": received request, ") != std::string::npos) requests += line + "\n";
  }
  return requests;
}

Database::Database(Switch& management, std::filesystem::path directory, unsigned servers)
    : pki_(directory / "pki") {
  std::filesystem::create_directories(directory);
  run_checked({homeport_program(), "pki", "init", "--dir", pki_.string()});
  if (servers == 1) {
    management.add_address(address_of(0) + "/24");
    servers_.push_back(std::make_unique<DatabaseServer>(
        DatabaseServer::Place{management.inside(), directory, pki_, address_of(0), {}}));
    return;
  }
  for (unsigned i = 0; i < servers; ++i) {
    machines_.push_back(std::make_unique<Namespace>(own_name("db" + std::to_string(i + 1))));
    const Namespace& machine = *machines_.back();
    management.connect(machine, "mgmt0", {});
    machine.ip("addr add " + address_of(i) + "/24 dev mgmt0");
    std::string cluster = "--cluster " + address_of(i) + ":" + kClusterPort;
    if (i > 0) cluster += " --join " + address_of(0) + ":" + kClusterPort;
    servers_.push_back(std::make_unique<DatabaseServer>(DatabaseServer::Place{
        machine, directory / std::to_string(i + 1), pki_, address_of(i), std::move(cluster)}));
  }
}

Database::~Database() = default;

std::filesystem::path Database::issue(const std::string& host) {
  run_checked({homeport_program(), "pki", "issue", host, "--dir", pki_.string()});
  return pki_;
}

void Database::start() {
  for (auto& server : servers_) server->start();
}

void Database::stop() {
  for (auto& server : servers_) server->stop();
}

void Database::pause() {
  for (auto& server : servers_) server->pause();
}

void Database::go_on() {
  for (auto& server : servers_) server->go_on();
}

DatabaseServer& Database::leader() {
  DatabaseServer* found = nullptr;
  wait_until(
      [&] {
        for (auto& server : servers_) {
          if (server->leads()) found = server.get();
        }
        return found != nullptr;
      },
      30s, "the cluster to have a leader");
  return *found;
}

void Database::wait_agreed() {
  if (servers_.size() == 1) return;
  wait_until(
      [&] {
        std::set<std::string> terms;
        std::size_t leaders = 0;
        for (auto& server : servers_) {
          terms.insert(server->term());
          leaders += server->leads() ? 1 : 0;
        }
        return leaders == 1 && terms.size() == 1;
      },
      30s, "the cluster to agree on a leader");
}

std::string Database::remote() const {
  std::string all;
  for (const auto& server : servers_) all += (all.empty() ? "" : ",") + server->remote();
  return all;
}

std::string Database::local_remote() const {
  std::string all;
  for (const auto& server : servers_) all += (all.empty() ? "" : ",") + server->local_remote();
  return all;
}

Relay::Relay(Switch& management, const std::filesystem::path& lab_directory, const Database& source)
    : machine_(own_name("relay")), log_(lab_directory / "relay.log") {
  management.connect(machine_, "mgmt0", {});
  machine_.ip("addr add " + std::string(kRelayAddress) + "/24 dev mgmt0");
  const auto pki = lab_directory / "db" / "pki";
  auto file = [&](const char* option, const char* name) {
    return std::string(option) + (pki / name).string();
  };
  command_ = {"ovsdb-server",
              "--no-self-confinement",
              "-vsyslog:off",
              "--unixctl=" + (lab_directory / "relay.ctl").string(),
              "--remote=db:Homeport,Global,connections",
              file("--private-key=", "database.key"),
              file("--certificate=", "database.pem"),
              file("--ca-cert=", "ca.pem"),
              "relay:Homeport:" + source.local_remote()};
  start();
}

void Relay::start() {
  server_.reset();
  server_ = std::make_unique<Process>(command_, ProcessOptions{.inside = &machine_, .log = log_});
}

void Relay::kill() {
  server_->kill();
}

std::string Relay::remote() const {
  return std::string("ssl:") + kRelayAddress + ":" + kPort;
}
}  // namespace homeport::lab
