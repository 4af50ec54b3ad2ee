# SPDX-License-Identifier: MIT
# `cmake --install` and `cpack`: one Debian package a program: chatchain-node, chatchain-client, and chatchain
# for the command line.
include(GNUInstallDirs)

# program_documents(PROGRAM COMPONENT): its manual page, its completions (one text serves all programs, each
# package has its copy) and the licence.
function(program_documents program component)
  install(FILES docs/man/${program}.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT ${component})
  install(FILES deploy/completion/chatchain.bash RENAME ${program} COMPONENT ${component}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES deploy/completion/chatchain.zsh RENAME _${program} COMPONENT ${component}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
  install(FILES deploy/completion/chatchain.fish RENAME ${program}.fish COMPONENT ${component}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  install(FILES LICENSE RENAME copyright COMPONENT ${component}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${program})
endfunction()

install(TARGETS chatchain RUNTIME COMPONENT terminal)
program_documents(chatchain terminal)

foreach(program node client)
  if(TARGET chatchain-${program})
    install(TARGETS chatchain-${program} RUNTIME COMPONENT ${program})
  endif()
  # Absolute, because that is where an operator looks for it whatever the prefix is. The reference
  # file serves both programs, but a file belongs to one package: each has its copy.
  install(FILES config.toml DESTINATION /etc/chatchain RENAME ${program}.toml COMPONENT ${program})
  program_documents(chatchain-${program} ${program})
endforeach()
install(FILES deploy/systemd/chatchain-node@.service DESTINATION lib/systemd/system COMPONENT node)
install(FILES deploy/systemd/chatchain-client.service DESTINATION lib/systemd/system
        COMPONENT client)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME chatchain)
set(CPACK_PACKAGE_VENDOR "The ChatChain authors")
set(CPACK_PACKAGE_CONTACT "The ChatChain authors <chatchain@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL node client terminal)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_COMPONENT_NODE_DESCRIPTION
    "Node of ChatChain, a distributed chat message store\n One of several equal peers, each with its own database.")
set(CPACK_COMPONENT_CLIENT_DESCRIPTION
    "Proxy of ChatChain, a distributed chat message store\n Gives chat programs one address for all nodes.")
set(CPACK_COMPONENT_TERMINAL_DESCRIPTION
    "Command line of ChatChain, a distributed chat message store\n Sends, reads and follows messages.")
set(CPACK_DEBIAN_TERMINAL_PACKAGE_NAME chatchain)
foreach(program node client)
  string(TOUPPER ${program} component)
  set(CPACK_DEBIAN_${component}_PACKAGE_NAME chatchain-${program})
  # Without this list an upgrade would overwrite the operator's configuration.
  set(control_dir "${CMAKE_CURRENT_BINARY_DIR}/deb-${program}")
  file(WRITE "${control_dir}/conffiles" "/etc/chatchain/${program}.toml\n")
  set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA "${control_dir}/conffiles")
endforeach()
include(CPack)
