// Typed access to one BPF map.
#pragma once

#include "overlay/datapath/map_image.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <string>
#include <vector>

namespace homeport::overlay {

/// A hash map of the eBPF datapath. Does not own the descriptor: the skeleton does.
template <class Key, class Value>
class BpfMap {
 public:
  BpfMap(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  /// All entries into `contents`, a map of any kind; without the programs' notes, as everywhere
  /// here but in for_each().
  template <class Contents>
  Result<void> read(Contents& contents) const {
    contents.clear();
    return for_each([&](const Key& key, Value value) {
      clear_notes(value);
      contents[key] = value;
    });
  }

  /// Whether its entries are exactly those of `contents`.
  template <class Contents>
  Result<bool> equals(const Contents& contents) const {
    std::size_t found = 0;
    bool same = true;
    auto read = for_each([&](const Key& key, Value value) {
      clear_notes(value);
      auto place = contents.find(key);
      same = same && place != contents.end() &&
             std::memcmp(&place->second, &value, sizeof(Value)) == 0;
      ++found;
    });
    if (!read) return read.error();
    return same && found == contents.size();
  }

  /// Calls `visit(key, value)` for all entries, read in batches.
  template <class Visit>
  Result<void> for_each(const Visit& visit) const {
    std::uint32_t capacity = 4096;
    std::vector<Key> keys(capacity);
    std::vector<Value> values(capacity);
    std::vector<std::byte> position(sizeof(Key));
    bool begun = false;
    while (true) {
      std::uint32_t count = capacity;
      std::vector<std::byte> next(position.size());
      const int result = bpf_map_lookup_batch(fd_, begun ? position.data() : nullptr, next.data(),
                                              keys.data(), values.data(), &count, nullptr);
      if (result == -ENOSPC) {  // One bucket alone holds more than that.
        capacity *= 2;
        keys.resize(capacity);
        values.resize(capacity);
        continue;
      }
      if (result < 0 && result != -ENOENT) {
        return policy::errno_error("The map " + name_ + " cannot be read", -result);
      }
      for (std::uint32_t i = 0; i < count; ++i) visit(keys[i], values[i]);
      if (result == -ENOENT) return {};
      position = std::move(next);
      begun = true;
    }
  }

  Result<Value> find(const Key& key) const {
    auto value = find_with_notes(key);
    if (value) clear_notes(*value);
    return value;
  }

  /// As it is, with what the programs have noted in it.
  Result<Value> find_with_notes(const Key& key) const {
    Value value{};
    if (const int result = bpf_map_lookup_elem(fd_, &key, &value); result < 0) {
      return policy::errno_error("The map " + name_ + " has no such entry", -result);
    }
    return value;
  }

  Result<void> write(const Key& key, const Value& value) const {
    if (const int result = bpf_map_update_elem(fd_, &key, &value, BPF_ANY); result < 0) {
      return policy::errno_error("The map " + name_ + " cannot be written", -result);
    }
    return {};
  }

  /// The same for many, in one system call where all of them can be written. Goes on where one
  /// cannot; the error is then that of the first, and says how many there were.
  Result<void> write(const std::vector<std::pair<Key, Value>>& entries) const {
    std::vector<Key> keys;
    std::vector<Value> values;
    keys.reserve(entries.size());
    values.reserve(entries.size());
    for (const auto& [key, value] : entries) {
      keys.push_back(key);
      values.push_back(value);
    }
    std::size_t begin = 0, failed = 0;
    int first_error = 0;
    while (begin < entries.size()) {
      auto count = static_cast<std::uint32_t>(entries.size() - begin);
      // `count` becomes how many were written before the one that could not be.
      const int result =
          bpf_map_update_batch(fd_, keys.data() + begin, values.data() + begin, &count, nullptr);
      if (result == 0) break;
      if (failed++ == 0) first_error = result;
      begin += count + 1;
    }
    if (failed == 0) return {};
    const std::string which = failed == 1 ? "An entry" : std::to_string(failed) + " entries";
    return policy::errno_error(which + " of the map " + name_ + " cannot be written", -first_error);
  }

  Result<void> remove(const Key& key) const {
    const int result = bpf_map_delete_elem(fd_, &key);
    if (result < 0 && result != -ENOENT) {
      return policy::errno_error("An entry of the map " + name_ + " cannot be removed", -result);
    }
    return {};
  }

 private:
  int fd_;
  std::string name_;
};

/// How many values a slot of a per-CPU array has.
inline Result<std::size_t> values_per_slot() {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return policy::errno_error("The number of CPUs cannot be read", -cpus);
  return static_cast<std::size_t>(cpus);
}

/// Reads one slot of a per-CPU array and adds it up; Value consists of 64-bit numbers only.
template <class Value>
Result<Value> read_per_cpu(int fd, std::uint32_t slot) {
  constexpr std::size_t kWordBytes = 8;
  constexpr std::size_t kWords = sizeof(Value) / kWordBytes;
  auto cpus = values_per_slot();
  if (!cpus) return cpus.error();
  std::vector<std::uint64_t> values(kWords * *cpus);
  if (const int result = bpf_map_lookup_elem(fd, &slot, values.data()); result < 0) {
    return policy::errno_error("A counter cannot be read", -result);
  }
  std::uint64_t sums[kWords] = {};
  for (std::size_t i = 0; i < values.size(); ++i) sums[i % kWords] += values[i];
  Value sum;
  std::memcpy(&sum, sums, sizeof(sum));
  return sum;
}

/// Has one slot of a per-CPU array of such values count from 0.
template <class Value>
Result<void> reset_per_cpu(int fd, std::uint32_t slot) {
  auto cpus = values_per_slot();
  if (!cpus) return cpus.error();
  const std::vector<Value> zero(*cpus);
  if (const int result = bpf_map_update_elem(fd, &slot, zero.data(), BPF_ANY); result < 0) {
    return policy::errno_error("A counter cannot be reset", -result);
  }
  return {};
}

}  // namespace homeport::overlay
