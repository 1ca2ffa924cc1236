#include "agent/paths/label_book.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <string>
#include <utility>

namespace homeport::agent {

using policy::IpAddress;
using policy::Time;
using policy::Vni;

namespace {

constexpr Vni kLabels = overlay::kLastLabel - overlay::kFirstLabel + 1;

/// Where the search for a free label begins.
Vni first_choice(const LabelMeaning& meaning) {
  const std::string text =
      meaning.from.to_string() + " " + meaning.to.to_string() + " " + std::to_string(meaning.vni);
  return static_cast<Vni>(XXH3_64bits(text.data(), text.size()) % kLabels);
}

}  // namespace

void LabelBook::adopt(const std::vector<overlay::RelayEntry>& entries) {
  for (const overlay::RelayEntry& entry : entries) {
    if (!taken_.insert(entry.label).second) continue;
    given_.try_emplace({entry.from, entry.to, entry.vni}, Given{entry.label, {}});
  }
}

void LabelBook::want(const IpAddress& from, const std::set<LabelMeaning>& meanings, Time now) {
  std::size_t count = 0;
  for (auto& [meaning, given] : given_) {
    if (meaning.from != from) continue;
    const bool wanted = meanings.contains(meaning);
    if (wanted) given.unwanted.reset();
    if (!wanted && !given.unwanted) given.unwanted = now;
    ++count;
  }
  for (const LabelMeaning& meaning : meanings) {
    if (given_.contains(meaning) || meaning.from != from) continue;
    if (count < limits_.of_host && give(meaning)) ++count;
  }
}

bool LabelBook::give(const LabelMeaning& meaning) {
  if (given_.size() >= limits_.all) return false;
  Vni place = first_choice(meaning);
  while (!taken_.insert(overlay::kFirstLabel + place).second) place = (place + 1) % kLabels;
  given_.emplace(meaning, Given{overlay::kFirstLabel + place, {}});
  return true;
}

bool LabelBook::look(Time now) {
  const auto ended = std::erase_if(given_, [&](const auto& item) {
    const auto& [label, unwanted] = item.second;
    if (!unwanted || now - *unwanted < limits_.rest) return false;
    taken_.erase(label);
    return true;
  });
  return ended > 0;
}

std::optional<Vni> LabelBook::label_of(const LabelMeaning& meaning) const {
  auto given = given_.find(meaning);
  if (given == given_.end() || given->second.unwanted) return std::nullopt;
  return given->second.label;
}

std::vector<overlay::RelayEntry> LabelBook::entries() const {
  std::vector<overlay::RelayEntry> entries;
  for (const auto& [meaning, given] : given_) {
    entries.push_back({given.label, meaning.from, meaning.to, meaning.vni});
  }
  return entries;
}

std::set<IpAddress> LabelBook::askers() const {
  std::set<IpAddress> hosts;
  for (const auto& [meaning, given] : given_) {
    if (!given.unwanted) hosts.insert(meaning.from);
  }
  return hosts;
}

std::size_t LabelBook::wanted() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      given_, [](const auto& item) { return !item.second.unwanted.has_value(); }));
}

}  // namespace homeport::agent
