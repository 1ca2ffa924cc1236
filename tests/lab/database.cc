#include "tests/lab/database.h"

#include <csignal>

#include <utility>

#include "tests/lab/failure.h"
#include "tests/lab/programs.h"

namespace homeport::lab {
namespace {

constexpr const char* kPort = "6650";

}  // namespace

Database::Database(const Switch& management, std::filesystem::path directory, std::string address)
    : management_(management),
      directory_(std::move(directory)),
      pki_(directory_ / "pki"),
      address_(std::move(address)),
      remote_("ssl:" + address_ + ":" + kPort),
      local_remote_("unix:" + (directory_ / "homeport.sock").string()) {
  std::filesystem::create_directories(directory_);
  run_checked({homeport_program(), "pki", "init", "--dir", pki_.string()});
  start();
}

Database::~Database() {
  try {
    stop();
  } catch (const std::exception& error) {
    fprintf(stderr, "lab: stopping the control database: %s\n", error.what());
  }
}

std::filesystem::path Database::issue(const std::string& host) {
  run_checked({homeport_program(), "pki", "issue", host, "--dir", pki_.string()});
  return pki_;
}

void Database::start() {
  run_checked({homeport_program(), "db", "init", "--dir", directory_.string(), "--listen",
               address_ + ":" + kPort, "--pki", pki_.string()},
              {.inside = &management_.inside()});
}

pid_t Database::server() const {
  const auto text = read_text(directory_ / "ovsdb-server.pid");
  return text.empty() ? 0 : std::stoi(text);
}

void Database::pause() {
  if (server() > 0) ::kill(server(), SIGSTOP);
}

void Database::go_on() {
  if (server() > 0) ::kill(server(), SIGCONT);
}

void Database::stop() {
  const pid_t server = this->server();
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
  std::filesystem::remove(directory_ / "ovsdb-server.pid");
}

}  // namespace homeport::lab
