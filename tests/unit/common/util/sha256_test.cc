// SPDX-License-Identifier: MIT
#include "common/util/sha256.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace chatchain {

TEST_CASE("SHA-256: the examples of FIPS 180", "[sha256]") {
  CHECK(Sha256("").Hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Sha256("abc").Hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(Sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").Hex() ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(Sha256(std::string(1'000'000, 'a')).Hex() ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(Sha256(std::string_view("\0", 1)) != Sha256(""));
}

TEST_CASE("SHA-256: forms", "[sha256]") {
  const Hash hash = Sha256("abc");
  CHECK(hash.Prefix64() == 0xba7816bf8f01cfea);
  Hash back;
  CHECK(Hash::FromHex(hash.Hex(), &back));
  CHECK(back == hash);
  CHECK(Hash::FromBytes(hash.view(), &back));
  CHECK(back == hash);
  const Hash untouched = back;
  for (const std::string& text :
       {std::string(), std::string(63, '0'), std::string(65, '0'), std::string(66, '0'),
        std::string(64, 'g'), std::string(64, 'A'), std::string(63, '0') + " "}) {
    INFO(text);
    CHECK_FALSE(Hash::FromHex(text, &back));
  }
  CHECK_FALSE(Hash::FromBytes(std::string(31, '\0'), &back));
  CHECK_FALSE(Hash::FromBytes(std::string(33, '\0'), &back));
  CHECK(back == untouched);
}

TEST_CASE("SHA-256 on many threads", "[sha256]") {
  const Hash expected = Sha256("abc");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        if (Sha256("abc") != expected) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

}  // namespace chatchain
