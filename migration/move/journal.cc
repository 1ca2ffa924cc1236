#include "migration/move/journal.h"

#include "overlay/directory.h"
#include "overlay/read_file.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <stdexcept>

namespace homeport::migration {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr std::string_view kSuffix = ".json";
constexpr const char* kDraftSuffix = ".new";

std::string_view role_name(JournalEntry::Role role) {
  return role == JournalEntry::Role::source ? "source" : "destination";
}

constexpr std::array<std::string_view, 3> kPhases = {"under-way", "decided", "running"};

constexpr std::array<std::string_view, 2> kCargoes = {"vm", "ports"};

/// Throws std::runtime_error for a name that is none. An agent before there were others wrote none.
Cargo cargo_of(const json::object& object) {
  const json::value* name = object.if_contains("cargo");
  if (!name) return Cargo::vm;
  auto found = std::find(kCargoes.begin(), kCargoes.end(), std::string_view(name->as_string()));
  if (found == kCargoes.end()) throw std::runtime_error("a cargo is not known");
  return static_cast<Cargo>(found - kCargoes.begin());
}

/// Throws std::runtime_error for a name that is none.
JournalPhase phase_of(std::string_view name) {
  auto found = std::find(kPhases.begin(), kPhases.end(), name);
  if (found == kPhases.end()) throw std::runtime_error("a phase is not known");
  return static_cast<JournalPhase>(found - kPhases.begin());
}

json::value to_json(const JournalEntry& entry) {
  json::array ports;
  for (const PortSpec& port : entry.ports) {
    ports.push_back({{"binding", port.binding},
                     {"vni", port.vni},
                     {"mac", port.mac.to_string()},
                     {"mtu", port.mtu},
                     {"device", port.device}});
  }
  return {{"role", role_name(entry.role)},
          {"phase", kPhases.at(static_cast<std::size_t>(entry.phase))},
          {"cargo", kCargoes.at(static_cast<std::size_t>(entry.cargo))},
          {"move_id", entry.move_id},
          {"application", entry.application},
          {"peer", entry.peer},
          {"generation", entry.generation},
          {"ports", std::move(ports)}};
}

/// Throws boost::system::system_error or std::exception on anything that is not what to_json wrote.
JournalEntry from_json(const json::value& value) {
  const json::object& object = value.as_object();
  auto text = [&](std::string_view key) { return json::value_to<std::string>(object.at(key)); };
  JournalEntry entry;
  const std::string role = text("role");
  for (auto known : {JournalEntry::Role::source, JournalEntry::Role::destination}) {
    if (role == role_name(known)) entry.role = known;
  }
  if (role != role_name(entry.role)) throw std::runtime_error("a role is unknown");
  entry.phase = phase_of(text("phase"));
  entry.cargo = cargo_of(object);
  entry.move_id = text("move_id");
  entry.application = text("application");
  if (entry.application.empty() || entry.application.find('/') != std::string::npos) {
    throw std::runtime_error("an application's name is no name for a file");
  }
  entry.peer = text("peer");
  entry.generation = object.at("generation").to_number<Generation>();
  for (const json::value& item : object.at("ports").as_array()) {
    const json::object& port = item.as_object();
    auto mac = policy::MacAddress::parse(json::value_to<std::string>(port.at("mac")));
    if (!mac) throw std::runtime_error("a MAC address does not parse");
    entry.ports.push_back({json::value_to<std::string>(port.at("binding")),
                           port.at("vni").to_number<policy::Vni>(), *mac,
                           port.at("mtu").to_number<std::uint32_t>(),
                           json::value_to<std::string>(port.at("device"))});
  }
  return entry;
}

}  // namespace

std::string to_journal_text(const JournalEntry& entry) {
  return json::serialize(to_json(entry)) + '\n';
}

Result<JournalEntry> parse_journal_entry(std::string_view text) {
  try {
    return from_json(json::parse(text));
  } catch (const std::exception& problem) {
    return policy::make_error(boost::system::errc::bad_message, problem.what());
  }
}

Result<Journal> Journal::open(fs::path directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (!error) fs::permissions(directory, fs::perms::owner_all, error);
  if (error) {
    return policy::Error{error, fmt::format("cannot use {} for the journal of moves: {}",
                                            directory.string(), error.message())};
  }
  // What an agent was writing when it was killed says less than the entry it was to replace.
  for (const fs::path& file : overlay::entries_of(directory, error)) {
    if (file.extension() == kDraftSuffix) fs::remove(file, error);
  }
  return Journal(std::move(directory));
}

/// Names of applications are limited to letters, digits, '.', '-' and '_' by the control database.
fs::path Journal::path_of(const JournalEntry& entry) const {
  return directory_ / fmt::format("{}.{}{}", entry.application, role_name(entry.role), kSuffix);
}

Result<void> Journal::write(const JournalEntry& entry) const {
  const fs::path path = path_of(entry);
  const fs::path fresh = path.string() + kDraftSuffix;
  std::ofstream file(fresh, std::ios::trunc);
  file << to_journal_text(entry);
  file.close();
  std::error_code error;
  if (file) fs::rename(fresh, path, error);
  if (!file || error) {
    return policy::errno_error(fmt::format("cannot write the journal {}", path.string()),
                               error ? error.value() : errno);
  }
  return {};
}

Result<void> Journal::remove(const JournalEntry& entry) const {
  std::error_code error;
  fs::remove(path_of(entry), error);
  if (!error) return {};
  return policy::errno_error(
      fmt::format(
          "cannot remove the journal {}, and the next start of the agent will take its move "
          "for one that was cut short",
          path_of(entry).string()),
      error.value());
}

Journal::Contents Journal::read() const {
  Contents contents;
  std::error_code error;
  for (const fs::path& file : overlay::entries_of(directory_, error)) {
    if (file.extension() != kSuffix) continue;
    auto text = overlay::read_file(file, "the journal");
    auto entry = text ? parse_journal_entry(*text) : text.error();
    if (entry) {
      contents.entries.push_back(*std::move(entry));
    } else {
      contents.unreadable.push_back(
          {entry.error().code,
           fmt::format("cannot understand the journal {} ({}): look after the guest it speaks of, "
                       "then remove it",
                       file.string(), entry.error().message)});
    }
  }
  if (error) {
    contents.unreadable.push_back({error, fmt::format("cannot read the journal of moves in {}: {}",
                                                      directory_.string(), error.message())});
  }
  return contents;
}

}  // namespace homeport::migration
